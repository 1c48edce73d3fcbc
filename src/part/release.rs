//! Releasing a part file without committing it: keeping it for a later attempt, removing it, or dropping it.

use std::fs;

use super::part_file::PartFile;
use super::process::new_owner;
use super::sidecar::Sidecar;
use super::sidecar_file;
use super::sidecar_reader::{SidecarState, find_sidecar};
use crate::error::Error;

/// What a process may remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removable {
    /// The file and the sidecar belong to another process that is alive, or may be.
    Nothing,
    /// The part file only, because the sidecar is not tdl's.
    FileOnly,
    FileAndSidecar,
}

impl PartFile {
    /// Keeps the file for a later attempt, with a sidecar that records its bytes and names no owner; or removes it if
    /// it cannot be resumed. Returns how many bytes are kept: 0 if the file was removed or belongs to another process.
    pub fn keep_for_resume(self) -> u64 {
        self.shared.stop_checkpoints();
        let recorded = || self.shared.sidecar().map_or(0, |sidecar| sidecar.done.count());
        let checked = self.shared.check_owned().and_then(|()| self.shared.file.check_not_truncated());
        // It is unknown whether the file still belongs to this process, so remove nothing.
        if let Err(Error::Disk { .. }) = checked {
            return recorded();
        }
        if checked.is_ok() && self.shared.is_resumable() {
            // Frees the space that was reserved for the rest. On a full disk the sidecar needs it.
            let _ = self.shared.file.truncate(self.shared.written_ranges().end());
            let is_saved = self.shared.save_checkpoint().is_ok();
            let kept = recorded();
            if is_saved && kept > 0 {
                // If this fails, the sidecar still names this process, and is released when the process ends.
                return self.shared.release_ownership().unwrap_or(kept);
            }
        }
        self.discard();
        0
    }

    /// Removes the file and its sidecar, if they still belong to this process.
    pub fn discard(self) {
        self.remove();
    }

    fn remove(&self) {
        self.shared.stop_checkpoints();
        let removable = self.find_removable();
        if removable == Removable::Nothing {
            return;
        }
        let is_in_place = self.shared.file.metadata().and_then(|meta| self.shared.file.is_in_place(&meta));
        if is_in_place.unwrap_or(false) {
            let _ = fs::remove_file(self.path());
        }
        // The sidecar last: a part file without one would not be recognized as tdl's.
        if removable == Removable::FileAndSidecar {
            sidecar_file::remove_sidecar(self.path());
        }
        self.shared.forget_sidecar();
    }

    /// Returns what this process may remove. Claims the file first, if no live process owns it.
    fn find_removable(&self) -> Removable {
        if self.shared.is_claimed() {
            return if self.shared.is_owned() { Removable::FileAndSidecar } else { Removable::Nothing };
        }
        match find_sidecar(self.path()) {
            Ok(SidecarState::Foreign(_)) => Removable::FileOnly,
            // Another process may be about to take it over: this one must claim it first.
            Ok(SidecarState::Ours(_) | SidecarState::Missing) => {
                let sidecar = Sidecar::for_removal().owned_by(Some(new_owner()));
                let claimed = sidecar_file::claim(self.path(), &sidecar, self.lock_scope(), &self.shared.moved);
                match claimed {
                    Ok(()) => Removable::FileAndSidecar,
                    Err(Error::Locked { .. }) => Removable::Nothing,
                    // On a full disk, the lock must be enough.
                    Err(_) if self.is_locked => Removable::FileAndSidecar,
                    Err(_) => Removable::Nothing,
                }
            }
            Err(_) => Removable::Nothing,
        }
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // Nothing may be written to a file that another process can lock.
        self.shared.stop_writers();
        self.shared.stop_checkpoints();
        if self.shared.is_claimed() {
            let released = self.shared.release_ownership();
            if released.is_err_and(|error| matches!(error, Error::PartChanged(_))) {
                self.remove();
            }
        }
        // The checkpointer may hold the file a moment longer, and it must not be found locked.
        let _ = self.shared.file.handle.unlock();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::commit::CommitMode;
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_dropped_part_file_has_no_owner() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(start_in(dir.path(), b"half").keep_for_resume(), 4);
        // As if the request for the rest had failed.
        for _ in 0..2 {
            drop(open_in(dir.path()).unwrap().part.unwrap());
        }
        let sidecar = fs::read_to_string(sidecar_in(dir.path())).unwrap();
        assert!(!sidecar.contains("owner"), "{sidecar}");
        assert_eq!(open_in(dir.path()).unwrap().part.unwrap().received(), 4);
    }

    #[test]
    fn a_truncated_part_file_is_removed_on_drop() {
        let dir = tempfile::tempdir().unwrap();
        let mut part = start_in(dir.path(), b"half");
        interfere(dir.path(), |file| file.set_len(3).unwrap());
        assert!(part.resume(13).is_err());
        drop(part);
        assert!(names(dir.path()).is_empty(), "the next attempt would have to wait for it");
    }

    #[test]
    fn a_kept_part_file_is_resumed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(start_in(dir.path(), b"half").keep_for_resume(), 4);
        // Bytes written after the last checkpoint are ignored.
        let mut file = fs::OpenOptions::new().append(true).open(dir.path().join("x.part")).unwrap();
        file.write_all(b" and lost").unwrap();
        drop(file);
        let mut part = open_in(dir.path()).unwrap().part.unwrap();
        assert_eq!((part.received(), part.sidecar().unwrap().validator.clone()), (4, validator()));
        part.resume(13).unwrap();
        part.write(b" and rest").unwrap();
        assert!(part.commit(&dir.path().join("x"), CommitMode::NoReplace).unwrap());
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"half and rest");
        assert_eq!(names(dir.path()), ["x"]);
    }

    #[test]
    fn without_a_validator_nothing_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut part = PartFile::create(&dir.path().join("x.part")).unwrap();
        part.start(&url(), None, None).unwrap();
        part.write(b"half").unwrap();
        assert_eq!(part.keep_for_resume(), 0);
        assert!(names(dir.path()).is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn reserved_space_is_freed_when_the_file_is_kept_and_ignored_after_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let mut part = PartFile::create(&dir.path().join("x.part")).unwrap();
        part.start(&url(), validator().as_ref(), Some(13)).unwrap();
        part.reserve(13).unwrap();
        part.write(b"half").unwrap();
        assert_eq!(part.keep_for_resume(), 4);
        assert_eq!(fs::read(dir.path().join("x.part")).unwrap(), b"half");
        // As if the run had been killed.
        interfere(dir.path(), |file| file.set_len(13).unwrap());
        let mut part = open_in(dir.path()).unwrap().part.unwrap();
        assert_eq!((part.received(), part.shared().first_gap()), (4, Some((4, None))));
        part.resume(13).unwrap();
        part.reserve(13).unwrap();
        part.write(b" and rest").unwrap();
        assert!(part.commit(&dir.path().join("x"), CommitMode::NoReplace).unwrap());
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"half and rest");
    }
}
