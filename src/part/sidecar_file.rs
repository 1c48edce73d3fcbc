//! The sidecar on disk: which process may create it, replace it and remove it.
//!
//! A sidecar names the process that owns its part file. If there is none, it is created by a step that fails if another
//! process was first. Every later change goes through `NAME.part.tmp`, which only one process can create at a time:
//! that process reads the sidecar once more, and then renames the temporary file over it. So of two processes that find
//! an owner dead, only one takes over, even if locks do not work.

use std::fs;
use std::io;
use std::path::Path;

use super::errors::{disk_error, locked_error};
use super::move_aside::MoveLog;
use super::owner::LockScope;
use super::paths::{directory_of, sidecar_path, temporary_path};
use super::platform;
use super::sidecar::Sidecar;
use super::sidecar_reader::{RawSidecar, SidecarState, find_sidecar, is_owned_by};
use super::sidecar_temporary::{Durability, MAX_TRIES, create_temporary, link_new, remove_abandoned};
use super::unnamed::LinkOutcome;
use crate::error::Error;

/// Claims a part file for the owner that `sidecar` names: creates the sidecar, or replaces one whose owner is dead.
///
/// # Errors
///
/// [`Error::Locked`] if another process owns the part file, [`Error::InTheWay`] if something that is not tdl's has
/// the name and cannot be moved aside, or [`Error::Disk`].
pub fn claim(part: &Path, sidecar: &Sidecar, scope: LockScope, moved: &MoveLog) -> Result<(), Error> {
    let text = to_json(part, sidecar)?;
    for _ in 0..MAX_TRIES {
        if create_sidecar(part, &text, moved)? {
            return Ok(());
        }
        match find_sidecar(part)? {
            SidecarState::Missing => {}
            SidecarState::Foreign(why) => moved.move_aside(&sidecar_path(part), why)?,
            SidecarState::Ours(found) => {
                found.check_unowned(part, scope)?;
                // Synced, because after a power failure the old sidecar must not be found beside the new bytes.
                take_over(part, sidecar, &found, Durability::Synced, scope, moved)?;
                return platform::sync_directory(directory_of(part)).map_err(|error| cannot_write(part, error));
            }
        }
    }
    Err(locked_error(part))
}

/// Replaces the sidecar `seen`, whose owner is dead.
///
/// # Errors
///
/// [`Error::Locked`] if another process was first, or [`Error::Disk`].
pub fn take_over(
    part: &Path,
    sidecar: &Sidecar,
    seen: &RawSidecar,
    durability: Durability,
    scope: LockScope,
    moved: &MoveLog,
) -> Result<(), Error> {
    create_temporary(part, &to_json(part, sidecar)?, durability, scope, moved)?;
    let is_unchanged = matches!(find_sidecar(part), Ok(SidecarState::Ours(now)) if now.text == seen.text);
    let is_replaced = is_unchanged && fs::rename(temporary_path(part), sidecar_path(part)).is_ok();
    if !is_replaced {
        let _ = fs::remove_file(temporary_path(part));
    }
    // Another process may have mistaken this temporary file for an abandoned one, and renamed its own instead.
    let is_ours = || sidecar.owner.as_ref().map_or(Ok(true), |owner| is_owned_by(part, owner));
    if is_replaced && is_ours()? { Ok(()) } else { Err(locked_error(part)) }
}

/// Writes this process's sidecar again if it is missing, and returns whether it did. It was removed by hand: a
/// process that takes a part file over replaces its sidecar, and removes it only after the part file.
///
/// # Errors
///
/// [`Error::Disk`] if it cannot be written.
pub fn restore(part: &Path, sidecar: &Sidecar, moved: &MoveLog) -> Result<bool, Error> {
    let is_missing = sidecar_path(part).symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if is_missing { create_sidecar(part, &to_json(part, sidecar)?, moved) } else { Ok(false) }
}

/// Replaces this process's sidecar of `part`. The bytes that it records must be on disk already.
///
/// # Errors
///
/// [`Error::Disk`] if it cannot be written; the last one stays.
pub fn save(part: &Path, sidecar: &Sidecar, moved: &MoveLog) -> Result<(), Error> {
    create_temporary(part, &to_json(part, sidecar)?, Durability::Unsynced, LockScope::ThisMachine, moved)?;
    fs::rename(temporary_path(part), sidecar_path(part))
        .map_err(|error| cannot_write(part, error))
        .inspect_err(|_| _ = fs::remove_file(temporary_path(part)))
}

/// Removes this process's sidecar of `part`.
pub fn remove_sidecar(part: &Path) {
    let _ = fs::remove_file(sidecar_path(part));
}

/// Removes a sidecar whose part file is missing, and an abandoned temporary file beside it.
///
/// # Errors
///
/// [`Error::Locked`] if its owner is alive: it has just renamed its part file to the target, or somebody removed the
/// part file.
pub fn remove_orphaned_sidecar(part: &Path) -> Result<(), Error> {
    // In this order: another process creates its part file before its sidecar.
    let Ok(SidecarState::Ours(found)) = find_sidecar(part) else { return Ok(()) };
    found.check_unowned(part, LockScope::ThisMachine)?;
    if part.symlink_metadata().is_err() {
        remove_sidecar(part);
        remove_abandoned(part, LockScope::ThisMachine);
    }
    Ok(())
}

/// Creates a sidecar; returns `false` if one exists.
fn create_sidecar(part: &Path, text: &[u8], moved: &MoveLog) -> Result<bool, Error> {
    match link_new(&sidecar_path(part), text, Durability::Unsynced)? {
        LinkOutcome::Linked => return Ok(true),
        LinkOutcome::NameTaken => return Ok(false),
        LinkOutcome::Unsupported => {}
    }
    create_temporary(part, text, Durability::Unsynced, LockScope::ThisMachine, moved)?;
    match platform::rename_no_replace(&temporary_path(part), &sidecar_path(part)) {
        Ok(_) => Ok(true),
        Err(error) => {
            let _ = fs::remove_file(temporary_path(part));
            let is_taken = error.kind() == io::ErrorKind::AlreadyExists;
            if is_taken { Ok(false) } else { Err(cannot_write(part, error)) }
        }
    }
}

fn to_json(part: &Path, sidecar: &Sidecar) -> Result<Vec<u8>, Error> {
    sidecar.to_json().map_err(|error| cannot_write(part, error))
}

fn cannot_write(part: &Path, error: io::Error) -> Error {
    disk_error("write the sidecar of", part, error)
}

#[cfg(test)]
mod tests {
    use super::super::process::new_owner;
    use super::*;
    use crate::url::WebUrl;

    fn sidecar() -> Sidecar {
        Sidecar::new(&WebUrl::parse("http://h/x").unwrap(), None, Some(100))
    }

    #[test]
    fn only_a_sidecar_made_by_tdl_is_removed_as_an_orphan() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("x.part");
        let text = String::from_utf8(sidecar().to_json().unwrap()).unwrap();
        let live = String::from_utf8(sidecar().owned_by(Some(new_owner())).to_json().unwrap()).unwrap();
        for (text, stays) in [
            (text.as_str(), false),
            ("{\"version\":9,\"url\":\"?\",\"new\":1,\"owner\":null}", false),
            // An owner in a newer format is unknown.
            ("{\"version\":9,\"url\":\"?\",\"owner\":[1]}", true),
            (live.as_str(), true),
            ("{}", true),
            ("mine", true),
        ] {
            fs::write(sidecar_path(&part), text).unwrap();
            assert_eq!(remove_orphaned_sidecar(&part).is_err(), text.contains("\"owner\":") && stays, "{text}");
            assert_eq!(sidecar_path(&part).exists(), stays, "{text}");
        }
    }

    #[test]
    fn a_sidecar_in_use_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("x.part");
        let (first, second) = (new_owner(), new_owner());
        claim(&part, &sidecar().owned_by(Some(first.clone())), LockScope::ThisMachine, &MoveLog::default()).unwrap();
        let late = claim(&part, &sidecar().owned_by(Some(second.clone())), LockScope::ThisMachine, &MoveLog::default());
        assert!(matches!(late, Err(Error::Locked { .. })), "{late:?}");
        assert!(is_owned_by(&part, &first).unwrap() && !is_owned_by(&part, &second).unwrap());
        // Without an owner, the first to claim it wins, and a process that read it earlier is too late.
        save(&part, &sidecar(), &MoveLog::default()).unwrap();
        let Ok(SidecarState::Ours(seen)) = find_sidecar(&part) else { panic!("it exists") };
        claim(&part, &sidecar().owned_by(Some(second.clone())), LockScope::ThisMachine, &MoveLog::default()).unwrap();
        let late = take_over(
            &part,
            &sidecar().owned_by(Some(first.clone())),
            &seen,
            Durability::Unsynced,
            LockScope::ThisMachine,
            &MoveLog::default(),
        );
        assert!(matches!(late, Err(Error::Locked { .. })), "{late:?}");
        assert!(is_owned_by(&part, &second).unwrap() && !temporary_path(&part).exists());
        // On some platforms the lock is proof.
        claim(&part, &sidecar().owned_by(Some(first.clone())), LockScope::AllMachines, &MoveLog::default()).unwrap();
        assert!(is_owned_by(&part, &first).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn a_symlink_is_not_a_sidecar_and_is_not_written_through() {
        use super::super::sidecar_reader::NOT_OURS;

        let dir = tempfile::tempdir().unwrap();
        let (part, elsewhere) = (dir.path().join("x.part"), dir.path().join("elsewhere"));
        fs::write(&elsewhere, sidecar().to_json().unwrap()).unwrap();
        for name in ["x.part.json", "x.part.tmp"] {
            std::os::unix::fs::symlink(&elsewhere, dir.path().join(name)).unwrap();
        }
        assert!(matches!(find_sidecar(&part), Ok(SidecarState::Foreign(NOT_OURS))));
        let owner = Some(new_owner());
        claim(&part, &sidecar().owned_by(owner), LockScope::ThisMachine, &MoveLog::default()).unwrap();
        save(&part, &sidecar(), &MoveLog::default()).unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), sidecar().to_json().unwrap());
        for kept in ["x.part.json.kept", "x.part.tmp.kept"] {
            assert!(dir.path().join(kept).is_symlink(), "{kept}");
        }
    }
}
