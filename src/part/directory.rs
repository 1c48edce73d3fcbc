//! Operations on the directory a file is in: syncing it to disk, and checking whether it is empty.

use std::fs;
use std::path::Path;

use super::errors::disk_error;
use super::paths::directory_of;
use super::platform;
use crate::error::Error;

/// Whether a directory exists and has no entries.
#[must_use]
pub fn is_empty_directory(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// Syncs a directory's entries to disk.
///
/// # Errors
///
/// [`Error::Disk`] if the directory cannot be opened or synced.
pub fn sync_directory(directory: &Path) -> Result<(), Error> {
    platform::sync_directory(directory).map_err(|error| disk_error("sync", directory, error))
}

/// Syncs the directory entry of `path` to disk.
///
/// # Errors
///
/// [`Error::Disk`] if the parent directory cannot be opened or synced.
pub fn sync_parent(path: &Path) -> Result<(), Error> {
    sync_directory(directory_of(path))
}
