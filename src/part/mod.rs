//! WHERE bytes land: the part file beside a target, its lock and its sidecar, and the one rename that gives it the
//! final name. Knows no network.

mod checkpoint;
mod checkpointer;
mod host;
mod meter;
mod move_aside;
mod open;
mod owner;
mod part_file;
mod platform;
mod probe;
mod ranges;
mod segments;
mod shared_part;
mod sidecar;
mod sidecar_file;
mod trust;
mod unnamed;

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use crate::error::Error;

pub use checkpointer::Checkpointer;
pub use host::{has_ended, token};
pub use open::Existing;
pub use part_file::{Commit, PartFile};
pub use probe::check_writable;
pub use ranges::Ranges;
pub use shared_part::{SegmentWriter, SharedPart};
pub use sidecar::{Sidecar, Unusable};
pub use unnamed::{Linked, UnnamedFile};

/// What stands at a target's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetState {
    /// Nothing.
    Free,
    /// A file, or a symbolic link, which is not followed; with the time of its last change.
    Occupied(Option<SystemTime>),
    /// Something that no file can replace: a directory, a device.
    NotAFile,
}

/// What is at `target` now.
///
/// # Errors
///
/// The directory cannot be searched.
pub fn target_state(target: &Path) -> Result<TargetState, Error> {
    match target.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(TargetState::Free),
        Err(source) => Err(disk("look at", target, source)),
        Ok(meta) if meta.is_file() || meta.is_symlink() => Ok(TargetState::Occupied(meta.modified().ok())),
        Ok(_) => Ok(TargetState::NotAFile),
    }
}

/// Whether nothing at all is in a directory.
#[must_use]
pub fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// Removes what a run that died may have left beside a `target` that is there: the part file that became it by a link,
/// and a sidecar without its part file. A part file with bytes of its own stays.
pub fn remove_orphans(part: &Path, target: &Path) {
    let left = part.symlink_metadata();
    let is_target = left.as_ref().is_ok_and(|meta| platform::is_link_to(meta, target));
    if is_target {
        let _ = fs::remove_file(part);
    }
    let _ = sidecar_file::remove_orphan(part);
}

/// Puts the names in a directory onto the disk.
///
/// # Errors
///
/// The disk is failing.
pub fn sync_directory(directory: &Path) -> Result<(), Error> {
    platform::sync_directory(directory).map_err(|source| disk("write", directory, source))
}

/// Puts the name of a file or directory onto the disk.
///
/// # Errors
///
/// The disk is failing.
pub fn sync_parent(path: &Path) -> Result<(), Error> {
    sync_directory(directory_of(path))
}

/// The directory that a path is in.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Another process has the part file; no time decides how long.
fn locked(part: &Path) -> Error {
    Error::Locked { path: part.to_owned(), free_in: None }
}

fn disk(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Disk { action, path: path.to_owned(), source }
}
