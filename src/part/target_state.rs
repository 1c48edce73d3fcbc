//! What is at a target's path, and what a killed run left beside it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::errors::disk_error;
use super::source_mark::read_source_mark;
use super::{platform, sidecar_file};
use crate::error::Error;
use crate::url::SourceId;

/// What is at a target's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetState {
    /// Nothing.
    Free,
    /// A file, or a symbolic link, which is not followed.
    Occupied {
        /// Its modification time.
        modified: Option<SystemTime>,
        /// The source that it was fetched from, if it is marked with that. It may have been changed since.
        source: Option<SourceId>,
    },
    /// Something that a file cannot replace: a directory or a device.
    NotAFile,
}

/// Returns what is at `target` now.
///
/// # Errors
///
/// [`Error::Disk`] if its directory cannot be searched.
pub fn target_state(target: &Path) -> Result<TargetState, Error> {
    match target.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(TargetState::Free),
        Err(error) => Err(disk_error("inspect", target, error)),
        Ok(meta) if meta.is_file() || meta.is_symlink() => {
            Ok(TargetState::Occupied { modified: meta.modified().ok(), source: read_source_mark(target) })
        }
        Ok(_) => Ok(TargetState::NotAFile),
    }
}

/// Removes what a killed run may have left beside a `target` that exists: a part file that is a hard link to it, and a
/// sidecar without a part file. A part file with different content stays.
pub fn remove_orphans(part: &Path, target: &Path) {
    let is_link_to_target = part.symlink_metadata().is_ok_and(|meta| platform::is_link_to(&meta, target));
    if is_link_to_target {
        let _ = fs::remove_file(part);
    }
    let _ = sidecar_file::remove_orphaned_sidecar(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_free_occupied_or_not_a_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"").unwrap();
        assert_eq!(target_state(&dir.path().join("none")).unwrap(), TargetState::Free);
        let state = target_state(&dir.path().join("file")).unwrap();
        assert!(matches!(state, TargetState::Occupied { modified: Some(_), source: None }), "{state:?}");
        assert_eq!(target_state(dir.path()).unwrap(), TargetState::NotAFile);
    }

    #[cfg(unix)]
    #[test]
    fn orphans_of_a_run_that_died_during_commit_are_removed() {
        use super::super::testing::*;

        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        let link = || {
            fs::write(&target, b"whole").unwrap();
            fs::hard_link(&target, dir.path().join("x.part")).unwrap();
            fs::write(dir.path().join("x.part.json"), EMPTY_SIDECAR).unwrap();
        };
        link();
        assert!(open_in(dir.path()).unwrap().part.is_none());
        fs::remove_file(&target).unwrap();
        link();
        remove_orphans(&dir.path().join("x.part"), &target);
        assert_eq!(names(dir.path()), ["x"]);
        assert_eq!(fs::read(&target).unwrap(), b"whole");

        fs::write(dir.path().join("x.part.json"), EMPTY_SIDECAR).unwrap();
        fs::write(dir.path().join("x.part.tmp"), EMPTY_SIDECAR).unwrap();
        remove_orphans(&dir.path().join("x.part"), &target);
        assert_eq!(names(dir.path()), ["x"]);

        fs::write(dir.path().join("x.part"), "other content").unwrap();
        remove_orphans(&dir.path().join("x.part"), &target);
        assert_eq!(names(dir.path()), ["x", "x.part"]);
    }
}
