//! File operations on Windows.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_OPEN_REPARSE_POINT;

/// Whether a lock excludes processes on every machine. The file server keeps it, so it does.
pub const LOCKS_SPAN_MACHINES: bool = true;

/// Makes opening a symbolic link open the link itself.
pub fn set_no_follow(options: &mut OpenOptions) {
    options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
}

/// Writes all bytes at `position`. Other threads may write elsewhere in the file at the same time.
pub fn write_at(file: &File, mut bytes: &[u8], mut position: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.seek_write(bytes, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = &bytes[count..];
                position += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether `path` still names the file that was opened.
pub fn is_at(file: &File, _: &Metadata, path: &Path) -> io::Result<bool> {
    let opened = same_file::Handle::from_file(file.try_clone()?)?;
    match same_file::Handle::from_path(path) {
        Ok(found) => Ok(opened == found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Always false: files are never committed by hard link on Windows, so a part file is never a link to its target.
pub const fn is_link_to(_: &Metadata, _: &Path) -> bool {
    false
}

/// Always true: hard links are not checked on Windows.
pub const fn has_single_link(_: &Metadata) -> bool {
    true
}

/// Whether locking failed because the file system has no locks.
pub fn is_lock_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

/// Always unknown: a full disk is noticed on writing.
pub const fn free_space(_: &Path) -> Option<u64> {
    None
}

/// Does nothing.
pub fn preallocate(_: &File, _: u64) -> io::Result<()> {
    Ok(())
}

/// Does nothing: a directory cannot be opened for syncing, and the file system journals the rename.
pub fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
