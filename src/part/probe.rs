//! A file made in a directory and removed at once: it shows whether files can be made there, what owner and mode they
//! get, and what time it is by that file system's clock.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

use super::disk;
use crate::error::{Error, is_out_of_files};

/// Checks that a file can be made in `directory`.
///
/// # Errors
///
/// The directory cannot be written to. A full disk or too many open files are not reported here: they may pass, and a
/// download that meets them says so.
pub fn check_writable(directory: &Path) -> Result<(), Error> {
    match probe(directory) {
        Err(source) if !may_pass(&source) => Err(disk("write to", directory, source)),
        _ => Ok(()),
    }
}

/// The metadata of an empty file that tdl has just made in `directory`: its owner and mode are those of every file of
/// ours there, and its time is the file system's own.
pub fn probe(directory: &Path) -> io::Result<Metadata> {
    match unnamed(directory) {
        Ok(file) => file.metadata(),
        // Some file systems have no unnamed files; for any other reason this fails as well.
        Err(_) => named(directory),
    }
}

fn named(directory: &Path) -> io::Result<Metadata> {
    let path = directory.join(format!(".tdl-{:016x}.part", fastrand::u64(..)));
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let meta = file.metadata();
    let _ = fs::remove_file(path);
    meta
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn unnamed(directory: &Path) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags};

    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, directory, flags, Mode::from_raw_mode(0o666))?.into())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn unnamed(_: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

fn may_pass(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory)
        || is_out_of_files(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        check_writable(dir.path()).unwrap();
        assert!(named(dir.path()).unwrap().is_file());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let missing = check_writable(&dir.path().join("missing")).unwrap_err().chain();
        assert!(missing.starts_with("cannot write to ") && missing.contains("missing: "), "{missing}");
    }

    #[cfg(unix)]
    #[test]
    fn only_what_does_not_pass_is_a_reason_to_refuse() {
        use rustix::io::Errno;

        for (errno, passes) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOSPC, true),
            (Errno::DQUOT, true),
            (Errno::ACCESS, false),
            (Errno::ROFS, false),
            (Errno::PERM, false),
        ] {
            assert_eq!(may_pass(&errno.into()), passes, "{errno}");
        }
    }
}
