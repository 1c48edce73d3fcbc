//! Extended attributes. Linux and macOS only.

#[cfg(any(target_vendor = "apple", target_os = "linux", target_os = "android"))]
pub use supported::{read_attribute, set_attribute};
#[cfg(not(any(target_vendor = "apple", target_os = "linux", target_os = "android")))]
pub use unsupported::{read_attribute, set_attribute};

#[cfg(any(target_vendor = "apple", target_os = "linux", target_os = "android"))]
mod supported {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use rustix::fs::{XattrFlags, fsetxattr, lgetxattr};

    /// Sets an attribute of an open file.
    pub fn set_attribute(file: &File, name: &str, value: &[u8]) -> io::Result<()> {
        Ok(fsetxattr(file, name, value, XattrFlags::empty())?)
    }

    /// Reads an attribute of the file at `path`, without following a symbolic link. Returns its length, and fails if
    /// `value` is too short for it.
    pub fn read_attribute(path: &Path, name: &str, value: &mut [u8]) -> io::Result<usize> {
        Ok(lgetxattr(path, name, value)?)
    }
}

#[cfg(not(any(target_vendor = "apple", target_os = "linux", target_os = "android")))]
mod unsupported {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub fn set_attribute(_: &File, _: &str, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn read_attribute(_: &Path, _: &str, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
