//! Reads a sidecar from disk: whether it is tdl's, which process it names, and whether that process is still running.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::errors::disk_error;
use super::owner::{LiveOwnership, LockScope, Owner, live_ownership};
use super::paths::{directory_of, sidecar_path, temporary_path};
use super::probe::probe;
use super::process::liveness;
use super::{platform, sidecar, trust};
use crate::error::Error;

/// A file larger than this is not a sidecar.
const MAX_SIZE: u64 = 1024 * 1024;

/// What is wrong with a file that tdl did not make, as a predicate like those of [`trust::find_trust_problem`].
pub const NOT_OURS: &str = "is not tdl's";

/// What is at a sidecar's path.
#[derive(Debug)]
pub enum SidecarState {
    Missing,
    /// Something that tdl did not make, or that is not safe to use. The text says what is wrong with it.
    Foreign(&'static str),
    Ours(RawSidecar),
}

/// A sidecar that tdl made, of any version and for any download.
#[derive(Debug)]
pub struct RawSidecar {
    pub text: Vec<u8>,
    owner: Option<Owner>,
    modified: Option<SystemTime>,
}

impl RawSidecar {
    pub fn new(text: Vec<u8>, meta: &Metadata) -> Self {
        Self { owner: sidecar::parse_owner(&text).ok().flatten(), text, modified: meta.modified().ok() }
    }

    /// Checks that no other process owns the part file. A lock that excludes all machines is proof of that.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if one does.
    pub fn check_unowned(&self, part: &Path, scope: LockScope) -> Result<(), Error> {
        self.live_ownership(part, scope).map_or(Ok(()), |live| Err(live.into_error(part)))
    }

    pub fn live_ownership(&self, part: &Path, scope: LockScope) -> Option<LiveOwnership> {
        let owner = self.owner.as_ref().filter(|_| scope == LockScope::ThisMachine)?;
        live_ownership(liveness(owner), || self.age(part))
    }

    /// Returns how long ago the sidecar was written.
    pub fn age(&self, part: &Path) -> Option<Duration> {
        age(self.modified?, directory_of(part))
    }
}

/// Reads the sidecar of `part`, after completing a rename by hard link that was interrupted.
///
/// # Errors
///
/// [`Error::Disk`] if it exists and cannot be read.
pub fn find_sidecar(part: &Path) -> Result<SidecarState, Error> {
    // Left by a process that died in a rename by hard link.
    let temporary = temporary_path(part).symlink_metadata();
    if temporary.is_ok_and(|meta| platform::is_link_to(&meta, &sidecar_path(part))) {
        let _ = fs::remove_file(temporary_path(part));
    }
    let path = sidecar_path(part);
    Ok(match read_untrusted(&path).map_err(|error| disk_error("read", &path, error))? {
        FileState::Missing => SidecarState::Missing,
        FileState::Foreign(why) => SidecarState::Foreign(why),
        FileState::Text(text, _) if sidecar::parse_owner(&text).is_err() => SidecarState::Foreign(NOT_OURS),
        FileState::Text(text, meta) => SidecarState::Ours(RawSidecar::new(text, &meta)),
    })
}

/// Checks that no process owns a part file that another user created. What its sidecar says about the bytes is not
/// trusted, but a live process that it names keeps the file.
///
/// # Errors
///
/// [`Error::Locked`] if one does.
pub fn check_foreign_unowned(part: &Path, scope: LockScope) -> Result<(), Error> {
    let path = sidecar_path(part);
    let Ok(meta) = path.symlink_metadata() else { return Ok(()) };
    if !meta.is_file() || meta.len() > MAX_SIZE {
        return Ok(());
    }
    let raw = match platform::open_to_read(&path).and_then(|file| read_text(&file, &meta)) {
        Ok(text) => RawSidecar::new(text, &meta),
        // It may name any process, so only its age decides.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            RawSidecar { text: Vec::new(), owner: Some(Owner::default()), modified: meta.modified().ok() }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(disk_error("read", &path, error)),
    };
    raw.check_unowned(part, scope)
}

/// Whether the sidecar of `part` still names this owner. Another process may have presumed it dead.
///
/// # Errors
///
/// [`Error::Disk`] if it cannot be read, so that its owner is unknown.
pub fn is_owned_by(part: &Path, owner: &Owner) -> Result<bool, Error> {
    let path = sidecar_path(part);
    let read = || {
        let file = match platform::open_to_read(&path) {
            // Another user's, a link or a directory.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied || platform::is_not_a_file(&path) => {
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let meta = file.metadata()?;
        if meta.is_file() { read_text(&file, &meta).map(Some) } else { Ok(None) }
    };
    let text = read().map_err(|error| disk_error("read", &path, error))?;
    Ok(text.is_some_and(|text| sidecar::parse_owner(&text).ok().flatten().as_ref() == Some(owner)))
}

/// What is at a path where anyone may have put a file, and its text if it is safe to use.
pub enum FileState {
    Missing,
    Foreign(&'static str),
    Text(Vec<u8>, Metadata),
}

/// Reads a file at a path where anyone may have put one.
pub fn read_untrusted(path: &Path) -> io::Result<FileState> {
    let file = match platform::open_to_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FileState::Missing),
        Err(_) if platform::is_not_a_file(path) => return Ok(FileState::Foreign(NOT_OURS)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(FileState::Foreign("cannot be read"));
        }
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > MAX_SIZE {
        return Ok(FileState::Foreign(NOT_OURS));
    }
    if let Some(why) = trust::find_trust_problem(&meta, directory_of(path))? {
        return Ok(FileState::Foreign(why));
    }
    Ok(FileState::Text(read_text(&file, &meta)?, meta))
}

fn read_text(file: &File, meta: &Metadata) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(usize::try_from(meta.len().min(MAX_SIZE)).unwrap_or_default() + 1);
    file.take(MAX_SIZE).read_to_end(&mut text)?;
    Ok(text)
}

/// Returns how long ago a file was written, by the clock of its file system: machines that share one need not agree on
/// the time. A time in the future is treated as equally far in the past, in case the clock was set back.
fn age(modified: SystemTime, directory: &Path) -> Option<Duration> {
    let now = probe(directory).ok()?.modified().ok()?;
    Some(now.duration_since(modified).unwrap_or_else(|error| error.duration()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_file_is_measured_by_its_file_system() {
        let dir = tempfile::tempdir().unwrap();
        let hour = Duration::from_secs(3600);
        for modified in [SystemTime::now() - hour, SystemTime::now() + hour] {
            let age = age(modified, dir.path()).unwrap();
            assert!(age.abs_diff(hour) < Duration::from_secs(60), "{age:?}");
        }
        assert_eq!(age(SystemTime::now(), &dir.path().join("missing")), None);
    }

    #[cfg(unix)]
    #[test]
    fn an_interrupted_rename_by_links_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("x.part");
        fs::write(sidecar_path(&part), "{\"version\":1,\"url\":\"http://h/x\"}").unwrap();
        fs::hard_link(sidecar_path(&part), temporary_path(&part)).unwrap();
        assert!(matches!(find_sidecar(&part), Ok(SidecarState::Ours(_))));
        assert!(!temporary_path(&part).exists());
    }
}
