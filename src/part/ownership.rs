//! Whether an open part file still belongs to this process, according to the sidecar on disk. Another process may have
//! presumed this one dead.

use super::guarded_file::{GuardedFile, Interference};
use super::move_aside::MoveLog;
use super::sidecar::Sidecar;
use super::sidecar_file::restore;
use super::sidecar_reader::is_owned_by;
use crate::error::Error;

/// Checks that the part file still belongs to this process, as it must before it is truncated or renamed.
///
/// # Errors
///
/// [`Error::Locked`] if another process owns it, [`Error::PartChanged`] if one has changed it, or
/// [`Error::Disk`] if the sidecar cannot be read, so that its owner is unknown.
pub fn check_ownership(file: &GuardedFile, sidecar: &Sidecar, moved: &MoveLog) -> Result<(), Error> {
    file.check_interference()?;
    if is_owner(file, sidecar, moved)? { Ok(()) } else { Err(file.record_interference(Interference::TakenOver)) }
}

/// Whether the sidecar on disk names this process as the owner, even if another one has changed the bytes. Restores a
/// sidecar that somebody removed by hand.
///
/// # Errors
///
/// [`Error::Disk`] if the sidecar cannot be read, so that its owner is unknown.
pub fn is_owner(file: &GuardedFile, sidecar: &Sidecar, moved: &MoveLog) -> Result<bool, Error> {
    let Some(owner) = &sidecar.owner else { return Ok(false) };
    Ok(is_owned_by(&file.path, owner)?
        || (file.is_in_place(&file.metadata()?)? && restore(&file.path, sidecar, moved)?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::commit::CommitMode;
    use super::super::part_file::PartFile;
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_part_file_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let part = start_in(dir.path(), b"mine");
        let second = open_in(dir.path());
        assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
        let third = PartFile::create(&dir.path().join("x.part"));
        assert!(matches!(third, Err(Error::Locked { .. })), "{third:?}");
        part.commit(&dir.path().join("x"), CommitMode::NoReplace).unwrap();
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"mine");
    }

    #[cfg(unix)]
    #[test]
    fn without_locks_a_live_owner_keeps_the_part_file() {
        let dir = tempfile::tempdir().unwrap();
        let first = without_lock(start_in(dir.path(), b"whole"));
        make_older(&sidecar_in(dir.path()), 50);
        for second in [open_in(dir.path()).map(drop), PartFile::create(&dir.path().join("x.part")).map(drop)] {
            assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
        }
        assert!(first.commit(&dir.path().join("x"), CommitMode::NoReplace).unwrap());
        assert_eq!((names(dir.path()), fs::read(dir.path().join("x")).unwrap()), (vec!["x".into()], b"whole".into()));
    }

    #[cfg(unix)]
    #[test]
    fn an_owner_silent_for_a_minute_loses_the_part_file_and_touches_nothing() {
        for end in ["commit", "keep", "discard", "drop", "resume"] {
            let dir = tempfile::tempdir().unwrap();
            let mut first = without_lock(start_in(dir.path(), b"half"));
            first.shared.save_checkpoint().unwrap();
            make_older(&sidecar_in(dir.path()), 61);
            let mut second = open_in(dir.path()).unwrap().part.unwrap();
            assert_eq!(second.received(), 4);
            second.resume(13).unwrap();
            let lost = match end {
                "commit" => first.commit(&dir.path().join("x"), CommitMode::NoReplace).map(drop),
                "resume" => first.resume(4),
                _ => first.shared.check_owned(),
            };
            assert!(matches!(lost, Err(Error::Locked { .. })), "{lost:?}");
            assert!(first.write(b"?").is_err(), "it writes nothing after noticing");
            match end {
                "keep" => assert_eq!(first.keep_for_resume(), 0),
                "discard" => first.discard(),
                _ => drop(first),
            }
            second.write(b" and rest").unwrap();
            assert!(second.commit(&dir.path().join("x"), CommitMode::NoReplace).unwrap());
            assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"half and rest");
            assert_eq!(names(dir.path()), ["x"], "{end}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_dead_owner_loses_the_part_file_at_once() {
        use super::super::owner::Owner;
        use super::super::sidecar_file::save;

        let dir = tempfile::tempdir().unwrap();
        let part = start_in(dir.path(), b"half");
        part.shared.save_checkpoint().unwrap();
        let mut dead = std::process::Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        let sidecar = part.sidecar().unwrap();
        let owner = Owner { process: dead.id(), ..sidecar.owner.clone().unwrap() };
        save(part.path(), &sidecar.owned_by(Some(owner)), &part.shared.moved).unwrap();
        drop(part);
        assert_eq!(open_in(dir.path()).unwrap().part.unwrap().received(), 4);
    }

    #[cfg(unix)]
    #[test]
    fn only_one_of_two_openers_starts_an_empty_part_file() {
        for first_starts in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let mut first = without_lock(PartFile::create(&dir.path().join("x.part")).unwrap());
            let mut second = open_in(dir.path()).unwrap().part.unwrap().replace_with_empty().unwrap();
            let (winner, mut loser) = if first_starts { (&mut first, second) } else { (&mut second, first) };
            winner.start(&url(), validator().as_ref(), None).unwrap();
            winner.write(b"whole").unwrap();
            let late = loser.start(&url(), validator().as_ref(), None);
            assert!(matches!(late, Err(Error::Locked { .. })), "{late:?}");
            assert_eq!(loser.keep_for_resume(), 0);
            assert!(winner.commit(&dir.path().join("x"), CommitMode::NoReplace).unwrap());
            assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"whole");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_committed_by_another_process_is_not_started_again() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        let mut first = without_lock(PartFile::create(&dir.path().join("x.part")).unwrap());
        let mut second = open_in(dir.path()).unwrap().part.unwrap().replace_with_empty().unwrap();
        first.start(&url(), validator().as_ref(), None).unwrap();
        first.write(b"whole").unwrap();
        assert!(first.commit(&target, CommitMode::NoReplace).unwrap());
        let late = second.start(&url(), validator().as_ref(), None);
        assert!(matches!(late, Err(Error::PartGone(_))), "{late:?}");
        second.discard();
        assert_eq!((names(dir.path()), fs::read(&target).unwrap()), (vec!["x".into()], b"whole".into()));
    }

    #[test]
    fn a_sidecar_removed_by_hand_is_restored() {
        let dir = tempfile::tempdir().unwrap();
        let mut part = start_in(dir.path(), b"half");
        for _ in 0..2 {
            fs::remove_file(sidecar_in(dir.path())).unwrap();
            part.shared.save_checkpoint().unwrap();
            part.write(b" and rest").unwrap();
        }
        fs::remove_file(sidecar_in(dir.path())).unwrap();
        assert!(part.commit(&dir.path().join("x"), CommitMode::NoReplace).unwrap());
        assert_eq!(names(dir.path()), ["x"]);
    }

    #[test]
    fn nothing_starts_beside_the_sidecar_of_a_live_owner() {
        let dir = tempfile::tempdir().unwrap();
        let part = start_in(dir.path(), b"whole");
        // As in the middle of a commit.
        fs::rename(dir.path().join("x.part"), dir.path().join("elsewhere")).unwrap();
        let second = open_in(dir.path());
        assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
        drop(part);
    }
}
