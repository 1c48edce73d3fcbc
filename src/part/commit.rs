//! Committing: the one rename that gives a part file its final name.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::errors::disk_error;
use super::part_file::PartFile;
use super::platform::{self, Renamed};
use super::sidecar_file;
use crate::error::Error;

/// Whether a commit may replace an existing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitMode {
    /// Replace any file that has the name.
    Replace,
    /// Commit only if nothing has the name.
    NoReplace,
}

impl PartFile {
    /// Renames the file to its target while it is still locked, and then removes the sidecar. Returns `false` if the
    /// name is taken and must not be replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`], [`Error::PartGone`] or [`Error::PartChanged`] if another process took the part file over,
    /// moved it or changed it; [`Error::Disk`] if the rename fails, or bytes could not be synced earlier.
    pub fn commit(&self, target: &Path, mode: CommitMode) -> Result<bool, Error> {
        let file = &self.shared.file;
        self.shared.stop_checkpoints();
        file.check_sync_failure()?;
        self.shared.check_owned()?;
        let meta = file.metadata()?;
        self.check_whole_length(meta.len())?;
        if !file.is_in_place(&meta)? {
            return Err(Error::PartGone(self.path().to_owned()));
        }
        let renamed = match mode {
            CommitMode::Replace => fs::rename(self.path(), target).map(|()| Renamed::Atomically),
            CommitMode::NoReplace => platform::rename_no_replace(self.path(), target),
        };
        match renamed {
            Ok(renamed) => {
                // Between the checks and the rename another process may have truncated the file or replaced it.
                self.check_committed(target).inspect_err(|_| _ = platform::rename_no_replace(target, self.path()))?;
                sidecar_file::remove_sidecar(self.path());
                self.shared.forget_sidecar();
                self.renamed_non_atomically.store(renamed == Renamed::AfterCheck, Ordering::Relaxed);
                Ok(true)
            }
            Err(error) if mode == CommitMode::NoReplace && error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(disk_error("rename the part file to", target, error)),
        }
    }

    /// Checks that the file at `target` is this one, and whole.
    fn check_committed(&self, target: &Path) -> Result<(), Error> {
        let cannot_look = |error| disk_error("inspect", target, error);
        let handle = &self.shared.file.handle;
        // Read again, because a rename may change the inode number (FUSE).
        let meta = handle.metadata().map_err(cannot_look)?;
        self.check_whole_length(meta.len())?;
        let is_at_target = platform::is_at(handle, &meta, target).map_err(cannot_look)?;
        // If nothing is there, this file was renamed and somebody has since moved it.
        let is_committed = is_at_target || target.symlink_metadata().is_err();
        if is_committed { Ok(()) } else { Err(Error::PartGone(self.path().to_owned())) }
    }

    fn check_whole_length(&self, length: u64) -> Result<(), Error> {
        self.shared.file.check_length(length, self.shared.written_ranges().end())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_commit_is_one_rename_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let part = start_in(dir.path(), b"whole");
        assert_eq!(names(dir.path()), ["x.part", "x.part.json"]);
        assert!(part.commit(&dir.path().join("x"), CommitMode::NoReplace).unwrap());
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"whole");
        assert_eq!(names(dir.path()), ["x"]);
    }

    #[test]
    fn a_file_that_appeared_at_the_target_is_replaced_only_on_request() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        let part = start_in(dir.path(), b"new");
        fs::write(&target, b"the user's").unwrap();
        assert!(!part.commit(&target, CommitMode::NoReplace).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"the user's");
        assert!(part.commit(&target, CommitMode::Replace).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn another_file_at_the_part_path_is_not_committed_or_removed() {
        let dir = tempfile::tempdir().unwrap();
        let first = start_in(dir.path(), b"first");
        fs::remove_file(dir.path().join("x.part")).unwrap();
        let gone = first.commit(&dir.path().join("x"), CommitMode::NoReplace);
        assert!(matches!(gone, Err(Error::PartGone(_))), "{gone:?}");
        // Its sidecar is removed, and the file that now has its name stays.
        fs::write(dir.path().join("x.part"), "the user's").unwrap();
        first.discard();
        assert_eq!(names(dir.path()), ["x.part"]);
        assert_eq!(fs::read(dir.path().join("x.part")).unwrap(), b"the user's");
    }

    #[test]
    fn a_part_file_that_was_truncated_or_extended_is_not_committed() {
        let cut = |dir: &Path| interfere(dir, |file| file.set_len(2).unwrap());
        let extend = |dir: &Path| interfere(dir, |file| file.set_len(6).unwrap());
        for change in [&cut as &dyn Fn(&Path), &extend] {
            let dir = tempfile::tempdir().unwrap();
            let part = start_in(dir.path(), b"whole");
            change(dir.path());
            let changed = part.commit(&dir.path().join("x"), CommitMode::NoReplace);
            assert!(matches!(&changed, Err(failure @ Error::PartChanged(_)) if failure.is_temporary()), "{changed:?}");
            part.discard();
            assert!(names(dir.path()).is_empty());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_of_the_users_stays_if_its_name_is_not_needed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["x.part", "x.part.tmp"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        start_in(dir.path(), b"whole").commit(&dir.path().join("x"), CommitMode::NoReplace).unwrap();
        assert_eq!(names(dir.path()), ["x", "x.part.tmp"]);
    }
}
