//! The temporary file `NAME.part.tmp`, which is written first and then renamed over the sidecar. Only one process can
//! create it at a time.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use super::errors::{disk_error, locked_error};
use super::move_aside::MoveLog;
use super::owner::{LiveOwnership, Liveness, LockScope, live_ownership};
use super::paths::{directory_of, temporary_path};
use super::sidecar;
use super::sidecar_reader::{FileState, NOT_OURS, RawSidecar, read_untrusted};
use super::unnamed::{FileMetadata, LinkOutcome, UnnamedFile};
use crate::error::Error;

/// How many times to try before giving up because another process was first.
pub const MAX_TRIES: usize = 4;

/// Whether a file is synced to disk when it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    Synced,
    Unsynced,
}

/// Creates the temporary file of `part` with this text.
///
/// # Errors
///
/// [`Error::Locked`] if another process is writing it, [`Error::InTheWay`] if something that is not tdl's has the name
/// and cannot be moved aside, or [`Error::Disk`].
pub fn create_temporary(
    part: &Path,
    text: &[u8],
    durability: Durability,
    scope: LockScope,
    moved: &MoveLog,
) -> Result<(), Error> {
    let path = temporary_path(part);
    for _ in 0..MAX_TRIES {
        let created = match link_new(&path, text, durability)? {
            LinkOutcome::Linked => return Ok(()),
            LinkOutcome::NameTaken => Err(io::ErrorKind::AlreadyExists.into()),
            LinkOutcome::Unsupported => write_new(&path, text, durability),
        };
        match created {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(disk_error("write the sidecar of", part, error)),
        }
        match judge_temporary(part, scope) {
            TemporaryState::Missing => {}
            TemporaryState::Abandoned => _ = fs::remove_file(&path),
            TemporaryState::Foreign(why) => moved.move_aside(&path, why)?,
            TemporaryState::InUse(live) => return Err(live.into_error(part)),
        }
    }
    Err(locked_error(part))
}

/// Removes the temporary file of a process that died, if it is certain to be tdl's.
pub fn remove_abandoned(part: &Path, scope: LockScope) {
    if let TemporaryState::Abandoned = judge_temporary(part, scope) {
        let _ = fs::remove_file(temporary_path(part));
    }
}

/// Creates a file that contains the whole text from the moment it appears.
pub fn link_new(path: &Path, text: &[u8], durability: Durability) -> Result<LinkOutcome, Error> {
    match UnnamedFile::write(directory_of(path), text, FileMetadata::default(), durability == Durability::Synced)? {
        Some(file) => file.link(path),
        None => Ok(LinkOutcome::Unsupported),
    }
}

/// Creates a file and then writes it, for systems without unnamed files.
fn write_new(path: &Path, text: &[u8], durability: Durability) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = file.write_all(text).and_then(|()| match durability {
        Durability::Synced => file.sync_all(),
        Durability::Unsynced => Ok(()),
    });
    written.inspect_err(|_| _ = fs::remove_file(path))
}

/// What is at the path of the temporary file.
enum TemporaryState {
    Missing,
    /// A process is writing it.
    InUse(LiveOwnership),
    /// A sidecar, or the beginning of one, left by a process that died.
    Abandoned,
    Foreign(&'static str),
}

fn judge_temporary(part: &Path, scope: LockScope) -> TemporaryState {
    let raw = match read_untrusted(&temporary_path(part)) {
        Ok(FileState::Missing) => return TemporaryState::Missing,
        Ok(FileState::Foreign(why)) => return TemporaryState::Foreign(why),
        Ok(FileState::Text(text, meta)) => RawSidecar::new(text, &meta),
        Err(_) => return TemporaryState::InUse(LiveOwnership { free_in: None }),
    };
    let is_whole = sidecar::parse_owner(&raw.text).is_ok();
    let live = if is_whole {
        raw.live_ownership(part, scope)
    } else if scope == LockScope::AllMachines {
        None
    } else {
        live_ownership(Liveness::Unknown, || raw.age(part))
    };
    match (sidecar::is_sidecar_prefix(&raw.text), live) {
        // A new one is briefly empty. One that stays empty may be anyone's.
        (is_ours, Some(live)) if is_ours || raw.text.is_empty() => TemporaryState::InUse(live),
        (true, _) => TemporaryState::Abandoned,
        (false, _) => TemporaryState::Foreign(NOT_OURS),
    }
}
