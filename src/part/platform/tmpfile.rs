//! Files without a name (`O_TMPFILE`), which are given their name by a hard link once they are whole. Linux only.

#[cfg(any(target_os = "linux", target_os = "android"))]
pub use linux::{link_unnamed, open_unnamed};
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub use unsupported::{link_unnamed, open_unnamed};

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd as _;
    use std::path::Path;

    use rustix::fs::{AtFlags, CWD, Mode, OFlags};
    use rustix::io::Errno;

    /// Creates a file without a name in `directory`.
    pub fn open_unnamed(directory: &Path) -> io::Result<File> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(CWD, directory, flags, Mode::from_raw_mode(0o666))?.into())
    }

    /// Gives an unnamed file the name `target`. Fails with `AlreadyExists` if the name is taken, and with `Unsupported`
    /// if the system or file system cannot do it.
    pub fn link_unnamed(file: &File, target: &Path) -> io::Result<()> {
        // Linking by descriptor needs a capability before Linux 6.10; linking through /proc works for everyone.
        let linked = rustix::fs::linkat(file, "", CWD, target, AtFlags::EMPTY_PATH);
        let linked = linked.or_else(|errno| match errno {
            Errno::NOENT | Errno::PERM => {
                let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
                rustix::fs::linkat(CWD, descriptor, CWD, target, AtFlags::SYMLINK_FOLLOW)
            }
            errno => Err(errno),
        });
        linked.map_err(|errno| match errno {
            Errno::NOENT | Errno::XDEV | Errno::PERM | Errno::NOTSUP | Errno::INVAL | Errno::NOSYS => {
                io::ErrorKind::Unsupported.into()
            }
            errno => errno.into(),
        })
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod unsupported {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub fn open_unnamed(_: &Path) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn link_unnamed(_: &File, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
