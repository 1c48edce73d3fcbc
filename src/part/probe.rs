//! An empty file that is created in a directory and removed at once. It shows whether files can be created there, which
//! owner and mode they get, and the time by that file system's clock.

use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::path::Path;

use super::errors::disk_error;
use super::platform;
use crate::error::{Error, has_too_many_open_files};

/// Checks that files can be created in `directory`.
///
/// # Errors
///
/// [`Error::Disk`] if the directory cannot be written to. A full disk or too many open files are not reported here:
/// they may be temporary, and a download that hits them reports them.
pub fn check_writable(directory: &Path) -> Result<(), Error> {
    match probe(directory) {
        Err(error) if !is_transient(&error) => Err(disk_error("write to", directory, error)),
        _ => Ok(()),
    }
}

/// Returns the metadata of an empty file just created in `directory`: its owner and mode are those of every file that
/// tdl creates there, and its time is the file system's own.
pub fn probe(directory: &Path) -> io::Result<Metadata> {
    match platform::open_unnamed(directory) {
        Ok(file) => file.metadata(),
        // Unnamed files may be unsupported. For any other reason, a named file fails as well.
        Err(_) => probe_with_name(directory),
    }
}

fn probe_with_name(directory: &Path) -> io::Result<Metadata> {
    let path = directory.join(format!(".tdl-{:016x}.part", fastrand::u64(..)));
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let meta = file.metadata();
    let _ = fs::remove_file(path);
    meta
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory)
        || has_too_many_open_files(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        check_writable(dir.path()).unwrap();
        assert!(probe_with_name(dir.path()).unwrap().is_file());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let missing = check_writable(&dir.path().join("missing")).unwrap_err().chain();
        assert!(missing.starts_with("cannot write to ") && missing.contains("missing: "), "{missing}");
    }

    #[cfg(unix)]
    #[test]
    fn only_permanent_failures_are_reported() {
        use rustix::io::Errno;

        for (errno, expected) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOSPC, true),
            (Errno::DQUOT, true),
            (Errno::ACCESS, false),
            (Errno::ROFS, false),
            (Errno::PERM, false),
        ] {
            assert_eq!(is_transient(&errno.into()), expected, "{errno}");
        }
    }
}
