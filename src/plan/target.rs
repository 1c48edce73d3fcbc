//! The path that a finished file will have below the output directory. Only this joins a target and a directory.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use super::name::SafeName;

/// A path below the output directory. It cannot lead out of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target(SafeName);

impl Target {
    /// Returns the target as text, relative to the output directory.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns its path in `directory`.
    #[must_use]
    pub fn path_in(&self, directory: &Path) -> PathBuf {
        directory.join(self.0.as_str())
    }

    /// Returns the path of its part file in `directory`.
    pub(crate) fn part_path_in(&self, directory: &Path) -> PathBuf {
        directory.join(self.0.part_name())
    }

    /// Inserts a number before the last extension: `name-2.ext`.
    pub(crate) fn numbered(&self, number: usize) -> Self {
        Self(self.0.numbered(number))
    }

    /// Returns a key that is equal for two targets if a case-insensitive file system treats them as the same.
    pub(crate) fn key(&self) -> Cow<'_, str> {
        self.0.key()
    }

    /// Moves the texts of targets that are kept together to common allocations.
    pub(super) fn pack<'a>(targets: impl Iterator<Item = &'a mut Self>) {
        SafeName::pack(targets.map(|target| &mut target.0));
    }
}

impl From<SafeName> for Target {
    fn from(name: SafeName) -> Self {
        Self(name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
