//! WHERE bytes land: the part file beside a target, its lock, and the one rename that gives it the final name.
//! Knows no network.

mod platform;

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::Failure;

/// `NAME.part`, open for writing and locked, so that no other process writes to it.
#[derive(Debug)]
pub struct PartFile {
    file: File,
    path: PathBuf,
    is_locked: bool,
}

/// What stands at a target's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nothing.
    Free,
    /// A file, or a symbolic link, which is not followed.
    Taken,
    /// Something that no file can replace: a directory, a device.
    NotAFile,
}

/// How a part file becomes its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// In place of whatever file has the name.
    Replace,
    /// Only if nothing has the name.
    Keep,
}

/// What is at `target` now.
///
/// # Errors
///
/// The directory cannot be searched.
pub fn place(target: &Path) -> Result<Place, Failure> {
    match target.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Place::Free),
        Err(source) => Err(disk("look at", target, source)),
        Ok(meta) if meta.is_file() || meta.is_symlink() => Ok(Place::Taken),
        Ok(_) => Ok(Place::NotAFile),
    }
}

impl PartFile {
    /// Opens and locks `path`, and empties it: what an earlier run left there cannot be told to be the same file.
    ///
    /// # Errors
    ///
    /// [`Failure::Locked`] if another process holds it, [`Failure::NotAFile`] for links, directories and devices.
    pub fn create(path: PathBuf) -> Result<Self, Failure> {
        loop {
            let file = match platform::open_part(&path) {
                Ok(file) => file,
                Err(_) if is_no_file(&path) => return Err(Failure::NotAFile(path)),
                Err(source) => return Err(disk("open", &path, source)),
            };
            let meta = file
                .metadata()
                .map_err(|source| disk("look at", &path, source))?;
            if !meta.is_file() {
                return Err(Failure::NotAFile(path));
            }
            let is_locked = lock(&file, &path)?;
            // Between the opening and the lock another process may have renamed the file into place.
            if !platform::is_at(&file, &meta, &path)
                .map_err(|source| disk("look at", &path, source))?
            {
                continue;
            }
            if platform::links(&meta) > 1 {
                // A run that died between linking a part to its target and removing the part: emptying it would empty the target.
                std::fs::remove_file(&path).map_err(|source| disk("remove", &path, source))?;
                continue;
            }
            if meta.len() > 0 {
                file.set_len(0)
                    .map_err(|source| disk("empty", &path, source))?;
            }
            return Ok(Self {
                file,
                path,
                is_locked,
            });
        }
    }

    /// Whether the file system could lock the file.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// The disk is full, or failing.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file
            .write_all(bytes)
            .map_err(|source| disk("write", &self.path, source))
    }

    /// Gives the file the time that the server named; a file system without such a time is no reason to fail.
    pub fn set_modified(&self, time: SystemTime) {
        let _ = self.file.set_modified(time);
    }

    /// Gives the file its final name by one rename, still locked. `Ok(None)` is done;
    /// `Ok(Some(self))` says that the name is taken and was to be kept.
    ///
    /// # Errors
    ///
    /// The rename was refused; the part file is removed.
    pub fn commit(self, target: &Path, commit: Commit) -> Result<Option<Self>, Failure> {
        let renamed = match commit {
            Commit::Replace => std::fs::rename(&self.path, target),
            Commit::Keep => platform::rename_no_replace(&self.path, target),
        };
        match renamed {
            Ok(()) => Ok(None),
            Err(error)
                if commit == Commit::Keep && error.kind() == io::ErrorKind::AlreadyExists =>
            {
                Ok(Some(self))
            }
            Err(source) => {
                self.discard();
                Err(disk("rename the part file to", target, source))
            }
        }
    }

    /// Removes the file.
    pub fn discard(self) {
        // Nothing depends on its being gone: the next run empties it.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn is_no_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| !meta.is_file())
}

/// Locks the file for this process; `Ok(false)` where the file system has no locks.
fn lock(file: &File, path: &Path) -> Result<bool, Failure> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Err(Failure::Locked(path.to_owned())),
        Err(std::fs::TryLockError::Error(error)) if platform::has_no_locks(&error) => Ok(false),
        Err(std::fs::TryLockError::Error(source)) => Err(disk("lock", path, source)),
    }
}

fn disk(action: &'static str, path: &Path, source: io::Error) -> Failure {
    Failure::Disk {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn part_in(dir: &Path, bytes: &[u8]) -> PartFile {
        let mut part = PartFile::create(dir.join("x.part")).unwrap();
        part.write(bytes).unwrap();
        part
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_commit_is_one_rename() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            part_in(dir.path(), b"whole")
                .commit(&dir.path().join("x"), Commit::Keep)
                .unwrap()
                .is_none()
        );
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"whole");
        assert_eq!(names(dir.path()), ["x"]);
    }

    #[test]
    fn a_file_that_appeared_meanwhile_is_kept_unless_it_is_to_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        let part = part_in(dir.path(), b"new");
        fs::write(&target, b"the user's").unwrap();
        let part = part
            .commit(&target, Commit::Keep)
            .unwrap()
            .expect("the name is taken");
        assert_eq!(fs::read(&target).unwrap(), b"the user's");
        assert!(part.commit(&target, Commit::Replace).unwrap().is_none());
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn a_part_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let part = part_in(dir.path(), b"mine");
        let second = PartFile::create(dir.path().join("x.part"));
        assert!(matches!(second, Err(Failure::Locked(_))), "{second:?}");
        part.commit(&dir.path().join("x"), Commit::Keep).unwrap();
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"mine");
    }

    #[test]
    fn what_an_earlier_run_left_is_started_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.part"), b"something much longer").unwrap();
        part_in(dir.path(), b"new")
            .commit(&dir.path().join("x"), Commit::Keep)
            .unwrap();
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn no_link_is_followed_and_no_device_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, b"the user's").unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("x.part")).unwrap();
        let part = PartFile::create(dir.path().join("x.part"));
        assert!(matches!(part, Err(Failure::NotAFile(_))), "{part:?}");
        assert_eq!(fs::read(&elsewhere).unwrap(), b"the user's");

        let fifo = dir.path().join("fifo.part");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let part = PartFile::create(fifo);
        assert!(matches!(part, Err(Failure::NotAFile(_))), "{part:?}");
    }

    #[test]
    fn a_part_that_is_linked_to_its_target_is_not_emptied() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x"), b"whole").unwrap();
        fs::hard_link(dir.path().join("x"), dir.path().join("x.part")).unwrap();
        part_in(dir.path(), b"next");
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"whole");
    }

    #[test]
    fn a_place_is_free_taken_or_no_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"").unwrap();
        assert_eq!(place(&dir.path().join("none")).unwrap(), Place::Free);
        assert_eq!(place(&dir.path().join("file")).unwrap(), Place::Taken);
        assert_eq!(place(dir.path()).unwrap(), Place::NotAFile);
    }
}
