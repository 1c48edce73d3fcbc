//! Small files: written without a name, and then given the final one. There is never a part file to be left, locked or
//! gone on with, and it costs half the system calls.

use std::path::Path;
use std::time::SystemTime;

use crate::error::Error;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub use elsewhere::UnnamedFile;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use linux::UnnamedFile;

/// What came of giving it a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    /// It has the name.
    Done,
    /// Something else has it.
    Taken,
    /// Names cannot be given here.
    Unsupported,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::fs::File;
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    use rustix::fs::{AtFlags, CWD, Mode, OFlags};
    use rustix::io::Errno;

    use super::{Error, Linked, Path, SystemTime};

    /// A whole file without a name.
    #[derive(Debug)]
    pub struct UnnamedFile(File);

    impl UnnamedFile {
        /// Writes all of a file into `directory`, and onto the disk if it is to be in `sync`; `None` where files must
        /// have names.
        ///
        /// # Errors
        ///
        /// The disk is full, or failing.
        pub fn write(
            directory: &Path,
            bytes: &[u8],
            modified: Option<SystemTime>,
            sync: bool,
        ) -> Result<Option<Self>, Error> {
            let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(0o666);
            let Ok(file) = rustix::fs::openat(CWD, directory, flags, mode) else {
                // Whatever the reason, the way with a name says it better.
                return Ok(None);
            };
            let mut file = File::from(file);
            let refused = |source| Error::Disk { action: "write to", path: directory.to_owned(), source };
            file.write_all(bytes).map_err(refused)?;
            if let Some(time) = modified {
                let _ = file.set_modified(time);
            }
            if sync {
                file.sync_all().map_err(refused)?;
            }
            Ok(Some(Self(file)))
        }

        /// Gives it the name `target`, if nothing has that.
        ///
        /// # Errors
        ///
        /// The directory refuses it.
        pub fn link(&self, target: &Path) -> Result<Linked, Error> {
            // The short way is for the privileged, and since Linux 6.10 for everyone.
            let linked = rustix::fs::linkat(&self.0, "", CWD, target, AtFlags::EMPTY_PATH);
            let linked = linked.or_else(|errno| match errno {
                Errno::NOENT | Errno::PERM => {
                    let own = format!("/proc/self/fd/{}", self.0.as_raw_fd());
                    rustix::fs::linkat(CWD, own, CWD, target, AtFlags::SYMLINK_FOLLOW)
                }
                errno => Err(errno),
            });
            match linked {
                Ok(()) => Ok(Linked::Done),
                Err(Errno::EXIST) => Ok(Linked::Taken),
                Err(Errno::NOENT | Errno::XDEV | Errno::PERM | Errno::NOTSUP | Errno::INVAL | Errno::NOSYS) => {
                    Ok(Linked::Unsupported)
                }
                Err(errno) => Err(Error::Disk { action: "make", path: target.to_owned(), source: errno.into() }),
            }
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod elsewhere {
    use super::{Error, Linked, Path, SystemTime};

    /// Files have names here.
    #[derive(Debug)]
    pub enum UnnamedFile {}

    impl UnnamedFile {
        /// `None`.
        ///
        /// # Errors
        ///
        /// None.
        pub const fn write(_: &Path, _: &[u8], _: Option<SystemTime>, _: bool) -> Result<Option<Self>, Error> {
            Ok(None)
        }

        /// Is never called.
        ///
        /// # Errors
        ///
        /// None.
        pub const fn link(&self, _: &Path) -> Result<Linked, Error> {
            Ok(Linked::Unsupported)
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole_and_replaces_none() {
        let dir = tempfile::tempdir().unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let Some(file) = UnnamedFile::write(dir.path(), b"whole", Some(time), true).unwrap() else {
            // This file system has none.
            return;
        };
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let (taken, free) = (dir.path().join("taken"), dir.path().join("free"));
        fs::write(&taken, "the user's").unwrap();
        assert_eq!(file.link(&taken).unwrap(), Linked::Taken);
        assert_eq!(file.link(&free).unwrap(), Linked::Done);
        assert_eq!((fs::read(&taken).unwrap(), fs::read(&free).unwrap()), (b"the user's".to_vec(), b"whole".to_vec()));
        assert_eq!(free.metadata().unwrap().modified().unwrap(), time);
        assert!(UnnamedFile::write(&dir.path().join("missing"), b"", None, false).unwrap().is_none());
    }
}
