//! Operations on the directory a file is in: syncing it to disk, and checking whether it is empty.

use std::fs;
use std::io;
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

/// Creates the directories of a path below `root`, each of which may exist. If `durable`, their names are synced to
/// disk.
///
/// A symbolic link could lead out of `root`, so none is followed.
///
/// # Errors
///
/// [`Error::Disk`] if something other than a directory has a name, or one cannot be created.
pub fn create_below(root: &Path, path: &str, durable: bool) -> Result<(), Error> {
    let mut directory = root.to_owned();
    for name in path.split('/') {
        directory.push(name);
        match fs::create_dir(&directory) {
            Ok(()) if durable => sync_parent(&directory)?,
            Ok(()) => {}
            Err(error) => match directory.symlink_metadata() {
                Ok(meta) if meta.is_dir() => {}
                Ok(meta) => {
                    let what = if meta.is_symlink() { "it is a symbolic link" } else { "a file has that name" };
                    let error = io::Error::new(io::ErrorKind::NotADirectory, what);
                    return Err(disk_error("create the directory", &directory, error));
                }
                Err(_) => return Err(disk_error("create the directory", &directory, error)),
            },
        }
    }
    Ok(())
}

/// Whether every component of a path below `root` that exists is a directory, and none is a symbolic link.
#[must_use]
pub fn is_path_of_directories(root: &Path, path: &str) -> bool {
    let mut directory = root.to_owned();
    path.split('/').all(|name| {
        directory.push(name);
        directory.symlink_metadata().map_or(true, |meta| meta.is_dir())
    })
}

/// Syncs a directory's entries to disk.
///
/// # Errors
///
/// [`Error::Disk`] if the directory cannot be opened or synced.
fn sync_directory(directory: &Path) -> Result<(), Error> {
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
