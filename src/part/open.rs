//! Opening a part file: lock it, judge whose it is and what of it can be resumed, and claim it.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::move_aside::{Moved, move_aside, sentence};
use super::part_file::PartFile;
use super::sidecar::{Sidecar, Unusable};
use super::sidecar_file::{Found, NOT_OURS};
use super::{directory_of, disk, host, locked, platform, sidecar_file, trust};
use crate::error::Error;
use crate::url::WebUrl;

/// What was found at a part file's path.
#[derive(Debug, Default)]
pub struct Existing {
    /// The part file of an earlier attempt or run.
    pub part: Option<PartFile>,
    /// Why its bytes cannot be resumed, for the user.
    pub discard_reason: Option<String>,
}

impl PartFile {
    /// Opens and locks what is at `path`, and judges what of it belongs to a download of `url` to `target`.
    /// A file that is not ours is moved aside, to `path` with `.kept`.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process holds it, [`Error::NotAFile`] for links, directories and devices,
    /// [`Error::InTheWay`] if it is not ours and cannot be moved aside.
    pub fn open_existing(path: &Path, target: &Path, url: &WebUrl) -> Result<Existing, Error> {
        let (mut part, meta) = loop {
            match Self::open(path, false, &Arc::default()) {
                Err(Error::Disk { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    // The part file may have been removed without its sidecar.
                    sidecar_file::remove_orphan(path)?;
                    return Ok(Existing::default());
                }
                // A run that died between linking a part to its target and removing the part.
                Ok((_, meta)) if platform::is_link_to(&meta, target) => remove(path)?,
                Err(failure) => return closed_to_us(path, failure),
                Ok(opened) => break opened,
            }
        };
        let lock_is_proof = part.lock_is_proof();
        if let Some(why) = object_to(&meta, path)? {
            sidecar_file::check_foreign_dead(path, lock_is_proof)?;
            return moved_aside(path, why);
        }
        let is_empty = meta.len() == 0;
        let found = match sidecar_file::look(path)? {
            Found::Ours(found) => found,
            // Another process may be about to write its sidecar: the first to do so has the file.
            Found::Nothing | Found::Foreign(_) if is_empty => {
                part.is_new = true;
                return Ok(Existing { part: Some(part), discard_reason: None });
            }
            Found::Nothing | Found::Foreign(NOT_OURS) => return moved_aside(path, NOT_OURS),
            Found::Foreign(why) => return moved_aside(path, &format!("has a sidecar that {why}")),
        };
        found.check_dead(path, lock_is_proof)?;
        sidecar_file::remove_unfinished(path, lock_is_proof);
        let discard_reason = match Sidecar::parse(&found.text, url, meta.len()) {
            Ok(sidecar) if sidecar.validator.is_some() => {
                let sidecar = sidecar.owned_by(Some(host::new_owner()));
                sidecar_file::take_over(path, &sidecar, &found, lock_is_proof, false, &part.shared.moved)?;
                let (done, length) = (sidecar.done.clone(), sidecar.length);
                part.shared.begin(Some(sidecar), done, length);
                None
            }
            _ if is_empty => None,
            Ok(_) => Some("the server gave nothing that would prove the rest to be of the same file"),
            Err(Unusable::Broken | Unusable::NotOurs) => Some("what was noted of the bytes that are left is damaged"),
            Err(Unusable::OtherUrl) => Some("the bytes that are left are of another URL"),
            Err(Unusable::Newer) => Some("a newer version of tdl left the bytes that are there"),
        };
        Ok(Existing { part: Some(part), discard_reason: discard_reason.map(ToOwned::to_owned) })
    }

    /// Opens the part file that was filled beside another one, by a run that was killed, if it can be resumed. What of
    /// tdl's cannot is removed; what has no sidecar of tdl's beside it is none of its business, for nothing needs that
    /// name yet.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process holds it; or the disk refuses.
    pub fn open_replacement(path: &Path, target: &Path, url: &WebUrl) -> Result<Option<Self>, Error> {
        let Ok(Found::Ours(_)) = sidecar_file::look(path) else { return Ok(None) };
        match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => sidecar_file::remove_orphan(path).map(|()| None),
            Err(source) => Err(disk("look at", path, source)),
            Ok(meta) if !meta.is_file() => Ok(None),
            Ok(meta) if !platform::is_link_to(&meta, target) && object_to(&meta, path)?.is_some() => Ok(None),
            Ok(_) => match Self::open_existing(path, target, url)?.part {
                Some(part) if part.received() > 0 => Ok(Some(part)),
                part => {
                    if let Some(part) = part {
                        part.discard();
                    }
                    Ok(None)
                }
            },
        }
    }

    /// Makes and locks a file at `path`, where nothing is.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process made one meanwhile.
    pub fn create(path: &Path) -> Result<Self, Error> {
        Self::open(path, true, &Arc::default()).map(|(part, _)| part).map_err(taken_meanwhile)
    }

    /// A new and empty part file in the place of this one, which is removed rather than truncated: a process that was
    /// taken for dead may still write to it.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process has the part file now; or the disk refuses.
    pub fn renew(self) -> Result<Self, Error> {
        if self.is_new {
            return Ok(self);
        }
        let (path, had_claim) = (self.path().to_owned(), self.received() > 0);
        let moved = Arc::clone(&self.shared.moved);
        self.discard();
        if had_claim {
            // After a power failure the old claim must not stand beside the new bytes.
            let directory = directory_of(&path);
            platform::sync_directory(directory).map_err(|source| disk("write", directory, source))?;
        }
        Self::open(&path, true, &moved).map(|(part, _)| part).map_err(taken_meanwhile)
    }

    fn open(path: &Path, create: bool, moved: &Arc<Moved>) -> Result<(Self, fs::Metadata), Error> {
        loop {
            let file = match platform::open_part(path, create) {
                Ok(file) => file,
                Err(error) if error.kind() != io::ErrorKind::NotFound && is_no_file(path) => {
                    return Err(Error::NotAFile(path.to_owned()));
                }
                Err(source) => return Err(disk("open", path, source)),
            };
            let is_locked = lock(&file, path)?;
            // After the lock, for what another process wrote before it let go counts.
            let meta = file.metadata().map_err(|source| disk("look at", path, source))?;
            if !meta.is_file() {
                return Err(Error::NotAFile(path.to_owned()));
            }
            let part = Self::new(path.to_owned(), file, is_locked, create, Arc::clone(moved));
            // Between the opening and the lock another process may have renamed the file into place.
            if part.is_in_place(&meta)? {
                return Ok((part, meta));
            }
        }
    }
}

/// A part file that could not be opened: moved aside if it is another user's, unless a process writes to it.
fn closed_to_us(path: &Path, failure: Error) -> Result<Existing, Error> {
    let is_denied = matches!(&failure, Error::Disk { source, .. } if source.kind() == io::ErrorKind::PermissionDenied);
    match path.symlink_metadata() {
        Ok(meta) if is_denied => match object_to(&meta, path)? {
            Some(why) => {
                // A lock can be tried without the permission to write.
                let is_held = |file: File| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock));
                if platform::open_to_read(path).is_ok_and(is_held) {
                    return Err(locked(path));
                }
                sidecar_file::check_foreign_dead(path, false)?;
                moved_aside(path, why)
            }
            None => Err(failure),
        },
        _ => Err(failure),
    }
}

/// The failure to make a part file, where another process was faster.
fn taken_meanwhile(failure: Error) -> Error {
    match failure {
        Error::Disk { source, path, .. } if source.kind() == io::ErrorKind::AlreadyExists => locked(&path),
        failure => failure,
    }
}

fn object_to(meta: &fs::Metadata, path: &Path) -> Result<Option<&'static str>, Error> {
    let directory = directory_of(path);
    trust::objection(meta, directory).map_err(|source| disk("write to", directory, source))
}

fn moved_aside(path: &Path, why: &str) -> Result<Existing, Error> {
    let kept = move_aside(path, why)?;
    Ok(Existing { part: None, discard_reason: Some(sentence(path, why, &kept)) })
}

fn remove(path: &Path) -> Result<(), Error> {
    fs::remove_file(path).map_err(|source| disk("remove", path, source))
}

fn is_no_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| !meta.is_file())
}

/// Locks the file for this process; `Ok(false)` where the file system has no locks.
fn lock(file: &File, path: &Path) -> Result<bool, Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(fs::TryLockError::WouldBlock) => Err(locked(path)),
        Err(fs::TryLockError::Error(error)) if platform::has_no_locks(&error) => Ok(false),
        Err(fs::TryLockError::Error(source)) => Err(disk("lock", path, source)),
    }
}
