//! The path that a finished file will have below the output directory. Only this joins a target and a directory.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use super::name::{PART_SUFFIX, SafeName, fold_case, is_device};
use crate::text::{SharedText, pack};
use crate::url::{WebUrl, percent_decode};

/// A path below the output directory: one or more safe names, separated by `/`. It cannot lead out of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target(SharedText);

/// Why a path of a list cannot be a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It has no name.
    #[error("names no file")]
    Empty,
    /// It begins at the root, or with a drive.
    #[error("is an absolute path; paths of a list are below the output directory")]
    Absolute,
    /// A component is `..`.
    #[error("leads out of the output directory")]
    Parent,
    /// It ends in a slash.
    #[error("names a directory")]
    Directory,
    /// Windows has a device of this name, whatever the extension.
    #[error("contains the name of a Windows device")]
    Device,
    /// It contains a NUL character.
    #[error("contains a NUL character")]
    Nul,
}

impl Target {
    /// The target that a URL gives its file: the [name](SafeName::from_url) at its end.
    #[must_use]
    pub fn from_url(url: &WebUrl) -> Self {
        SafeName::from_url(url).into()
    }

    /// The target that a URL gives its file if directories are kept: below the output directory, or below one named
    /// after the host.
    #[must_use]
    pub fn with_path_of(url: &WebUrl, has_host: bool) -> Self {
        let host = has_host.then(|| SafeName::sanitized(url.host()));
        let directories = url.directories().map(|segment| SafeName::sanitized(percent_decode(segment)));
        let names: Vec<_> = host.into_iter().chain(directories).chain([SafeName::from_url(url)]).collect();
        Self::join(&names)
    }

    /// Makes a target of a path that a list gives. Each of its components is made [safe](SafeName); `.` and empty ones
    /// are left out.
    ///
    /// # Errors
    ///
    /// [`PathError`] if the path would lead out of the output directory anywhere, names no file, or names a device.
    pub fn from_list(path: &str) -> Result<Self, PathError> {
        let is_drive = path.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && path[1..].starts_with(':');
        if path.contains('\0') {
            return Err(PathError::Nul);
        }
        if path.starts_with(['/', '\\']) || is_drive {
            return Err(PathError::Absolute);
        }
        // A backslash separates components on Windows.
        if path.split(['/', '\\']).any(|component| component.trim_end() == "..") {
            return Err(PathError::Parent);
        }
        if path.ends_with('/') {
            return Err(PathError::Directory);
        }
        let components = path.split('/').filter(|component| !matches!(*component, "" | "."));
        let mut names = Vec::new();
        for component in components {
            if is_device(component) {
                return Err(PathError::Device);
            }
            names.push(SafeName::sanitized(component.to_owned()));
        }
        if names.is_empty() {
            return Err(PathError::Empty);
        }
        Ok(Self::join(&names))
    }

    /// A file in a directory, both below the output directory.
    #[must_use]
    pub fn in_directory(&self, name: &SafeName) -> Self {
        Self(format!("{self}/{name}").into())
    }

    /// Whether it is `base`, or may be one of its [numbered](Self::numbered) alternatives.
    pub(crate) fn is_alternative_of(&self, base: &Self) -> bool {
        let marked = base.with_suffix("-");
        let stem = base.0.bytes().zip(marked.0.bytes()).take_while(|(one, other)| one == other).count();
        let (start, end) = (&marked.0[..=stem], &marked.0[stem + 1..]);
        self == base || self.0.len() > marked.0.len() && self.0.starts_with(start) && self.0.ends_with(end)
    }

    /// A file with another name in the same directory.
    pub(crate) fn with_name(&self, name: &SafeName) -> Self {
        let directory = &self.0[..self.0.len() - self.0.rsplit('/').next().unwrap_or_default().len()];
        Self(format!("{directory}{name}").into())
    }

    /// The path that these components form. There is at least one.
    pub(super) fn join(names: &[SafeName]) -> Self {
        Self(names.iter().map(SafeName::as_str).collect::<Vec<_>>().join("/").into())
    }

    /// Returns the target as text, relative to the output directory, with `/` between components.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns its directory below the output directory; `None` if it is in the output directory itself.
    #[must_use]
    pub fn directory(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(directory, _)| directory)
    }

    /// Returns its path in `directory`.
    #[must_use]
    pub fn path_in(&self, directory: &Path) -> PathBuf {
        directory.join(&*self.0)
    }

    /// Returns the path of its part file in `directory`.
    pub(crate) fn part_path_in(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{self}{PART_SUFFIX}"))
    }

    /// Inserts a number before the last extension: `name-2.ext`.
    pub(crate) fn numbered(&self, number: usize) -> Self {
        self.with_suffix(&format!("-{number}"))
    }

    /// Inserts a safe text before the last extension of the name.
    pub(super) fn with_suffix(&self, suffix: &str) -> Self {
        let (directory, name) = self.0.split_at(self.0.rfind('/').map_or(0, |slash| slash + 1));
        Self(format!("{directory}{}", SafeName::with_suffix(name, suffix)).into())
    }

    /// Returns a key that is equal for two targets if a case-insensitive file system treats them as the same.
    pub(crate) fn key(&self) -> Cow<'_, str> {
        fold_case(&self.0)
    }

    /// Moves the texts of targets that are kept together to common allocations.
    pub(super) fn pack<'a>(targets: impl Iterator<Item = &'a mut Self>) {
        pack(targets.map(|target| &mut target.0));
    }
}

impl From<SafeName> for Target {
    fn from(name: SafeName) -> Self {
        Self(name.into_text())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_of_lists_stay_below_the_output_directory() {
        for (path, target) in [
            ("a.csv", Ok("a.csv")),
            ("a/b/c.csv", Ok("a/b/c.csv")),
            ("./a//b/./c", Ok("a/b/c")),
            ("a b/ü.txt", Ok("a b/ü.txt")),
            ("2026-01-01T00:00.csv", Ok("2026-01-01T00_00.csv")),
            ("a\\b", Ok("a_b")),
            ("x.part/y.part.json", Ok("x.part_/y.part.json_")),
            (".tdl-compare/x", Ok(".tdl-compare_/x")),
            ("...", Ok("index.html")),
            ("", Err(PathError::Empty)),
            (".", Err(PathError::Empty)),
            ("..", Err(PathError::Parent)),
            ("../a", Err(PathError::Parent)),
            ("a/../b", Err(PathError::Parent)),
            ("a/.. /b", Err(PathError::Parent)),
            ("a\\..\\b", Err(PathError::Parent)),
            ("/etc/passwd", Err(PathError::Absolute)),
            ("\\\\host\\share", Err(PathError::Absolute)),
            ("C:\\x", Err(PathError::Absolute)),
            ("c:x", Err(PathError::Absolute)),
            ("a/", Err(PathError::Directory)),
            ("a/nul.txt/b", Err(PathError::Device)),
            ("CON", Err(PathError::Device)),
            ("a\0b", Err(PathError::Nul)),
        ] {
            assert_eq!(
                Target::from_list(path).as_ref().map(Target::as_str).map_err(|error| *error),
                target,
                "{path:?}"
            );
        }
    }

    #[test]
    fn numbers_and_part_files_belong_to_the_last_component() {
        let target = Target::from_list("a.b/c").unwrap();
        assert_eq!((target.numbered(2).as_str(), target.directory()), ("a.b/c-2", Some("a.b")));
        assert_eq!(target.part_path_in(Path::new("out")), Path::new("out/a.b/c.part"));
        let base = Target::from_list("a/c.txt").unwrap();
        assert_eq!(base.numbered(3).as_str(), "a/c-3.txt");
        assert!(base.numbered(31).is_alternative_of(&base) && base.is_alternative_of(&base));
        assert!(!base.is_alternative_of(&target) && !base.is_alternative_of(&base.numbered(3)));
    }

    proptest! {
        #[test]
        fn no_path_leads_out(path in "([a-z.:~\\\\/ \0é-]{0,12}|(\\.\\./|/|C:|nul|x\\.part){0,4})") {
            if let Ok(target) = Target::from_list(&path) {
                let path = target.path_in(Path::new(""));
                prop_assert!(path.components().all(|component| matches!(component, std::path::Component::Normal(_))));
                prop_assert_eq!(Target::from_list(target.as_str()), Ok(target));
            }
        }
    }
}
