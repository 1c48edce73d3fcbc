//! The scratch directory for the first run of a comparison, on the same file system as the targets. It is removed when
//! the comparison ends, or by [`cleanup`](super::cleanup) in a later run if the process was killed.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::cleanup::{FILES, LOCK, LOCK_FILE_HEADER, remove_dead, remove_directory};
use crate::error::Error;
use crate::part;
use crate::plan::COMPARE_DIRECTORY;
use crate::run::create_directory;

/// How many times to try again if another process removes the directories while they are being created, or a thread
/// creates a file while they are being removed.
const ATTEMPTS: usize = 10;

/// A scratch directory. Dropping it removes it, with everything in it.
#[derive(Debug)]
pub struct Scratch {
    parent: PathBuf,
    name: String,
    files: PathBuf,
    /// Locked, so that no other process considers the directory abandoned.
    _lock: File,
}

impl Scratch {
    /// Creates the directory, and the output directory if it is missing. Removes what killed comparisons left there.
    ///
    /// # Errors
    ///
    /// Returns an error if the directory cannot be created, or if `.tdl-compare` belongs to another user.
    pub fn create_in(directory: &Path) -> Result<Self, Error> {
        // Synced to disk, because the options of the run that follows may ask for that.
        create_directory(directory, true)?;
        remove_dead(directory);
        let parent = directory.join(COMPARE_DIRECTORY);
        let mut attempt = 1;
        loop {
            match Self::create(&parent) {
                Ok(scratch) => return Ok(scratch),
                Err(error) if attempt < ATTEMPTS && is_race(&error) => attempt += 1,
                Err(source) => return Err(Error::Disk { action: "create the directory", path: parent, source }),
            }
        }
    }

    fn create(parent: &Path) -> io::Result<Self> {
        match make_private(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let parent_meta = parent.symlink_metadata()?;
        if !parent_meta.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let name = format!("{:016x}", fastrand::u64(..));
        let root = parent.join(&name);
        make_private(&root)?;
        // The owner of `.tdl-compare` could replace our directory with a link.
        if !has_same_owner(&parent_meta, &root.symlink_metadata()?) {
            let _ = fs::remove_dir(&root);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"));
        }
        let mut lock = File::options().read(true).write(true).create_new(true).open(root.join(LOCK))?;
        match lock.try_lock() {
            Err(fs::TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            // Without locks, no other process can lock it either.
            Ok(()) | Err(fs::TryLockError::Error(_)) => {}
        }
        lock.write_all(&[LOCK_FILE_HEADER, part::process_token().as_bytes()].concat())?;
        let files = root.join(FILES);
        make_private(&files)?;
        // Another process may have removed it before it was locked.
        root.join(LOCK).symlink_metadata()?;
        Ok(Self { parent: parent.to_owned(), name, files, _lock: lock })
    }

    /// Returns the directory for the files.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.files
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // After an interrupt, a thread may still create a file in it.
        for _ in 0..ATTEMPTS {
            if remove_directory(&self.parent, &self.name).is_ok() {
                break;
            }
        }
        // Fails if another comparison is running.
        let _ = fs::remove_dir(&self.parent);
    }
}

/// Whether an error may be caused by another process that is removing abandoned directories.
fn is_race(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, NotFound, WouldBlock};
    matches!(error.kind(), AlreadyExists | NotFound | WouldBlock)
}

#[cfg(unix)]
pub fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;

    DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
pub fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().create(path)
}

#[cfg(unix)]
fn has_same_owner(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    one.uid() == other.uid()
}

#[cfg(not(unix))]
const fn has_same_owner(_: &Metadata, _: &Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_directory_in_use_is_kept_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::create_in(dir.path()).unwrap();
        let other = Scratch::create_in(dir.path()).unwrap();
        for scratch in [&scratch, &other] {
            fs::create_dir(scratch.path().join("deep")).unwrap();
            fs::write(scratch.path().join("deep/x"), "x").unwrap();
        }
        remove_dead(dir.path());
        assert!(scratch.path().join("deep/x").exists());
        drop(scratch);
        assert!(other.path().join("deep/x").exists());
        drop(other);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
