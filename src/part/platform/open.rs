//! Opening files at paths where another user may have put anything: links are not followed, and a FIFO does not block.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

#[cfg(unix)]
use super::unix::set_no_follow;
#[cfg(windows)]
use super::windows::set_no_follow;

/// Opens a part file for reading and writing; with `create`, makes a new one and fails if anything is at `path`.
pub fn open_part(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(create);
    set_no_follow(&mut options);
    options.open(path)
}

/// Opens a file, which may not be tdl's, for reading.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    set_no_follow(&mut options);
    options.open(path)
}

/// Whether something other than a regular file is at `path`: a link, a directory or a device.
pub fn is_not_a_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| !meta.is_file())
}
