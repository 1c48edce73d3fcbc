//! Shorthands for the two errors that most files here return.

use std::io;
use std::path::Path;

use crate::error::Error;

/// A failed file operation, with the message "cannot ACTION PATH".
pub fn disk_error(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Disk { action, path: path.to_owned(), source }
}

/// Another process holds the part file; it is not known for how long.
pub fn locked_error(part: &Path) -> Error {
    Error::Locked { path: part.to_owned(), free_in: None }
}
