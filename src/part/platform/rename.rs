//! Renaming a file without replacing another. std has no such operation.

use std::io;
use std::path::Path;

#[cfg(unix)]
pub use with_links::rename_no_replace;
#[cfg(windows)]
pub use with_move_file::rename_no_replace;

/// How a rename that must not replace anything was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renamed {
    /// In one step, or by a hard link: nothing can have been replaced.
    Atomically,
    /// The file system supports neither, so a check preceded the rename. A file that appeared in between was replaced.
    AfterCheck,
}

#[cfg(unix)]
mod with_links {
    use std::fs;

    use rustix::fs::{AtFlags, CWD};
    use rustix::io::Errno;

    use super::{Path, Renamed, io};

    /// Renames, or fails with `AlreadyExists`. If the file system cannot do that in one step, a hard link does it.
    /// Some FUSE file systems have no hard links either: there, a check precedes a plain rename.
    pub fn rename_no_replace(from: &Path, to: &Path) -> io::Result<Renamed> {
        match rename_exclusively(from, to) {
            Err(errno) if is_unsupported(errno) => {}
            done => return Ok(done.map(|()| Renamed::Atomically)?),
        }
        match rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty()) {
            // The file under the new name is whole even if the old name stays. The next run removes that.
            Ok(()) => {
                let _ = fs::remove_file(from);
                Ok(Renamed::Atomically)
            }
            // link(2) fails with EPERM on a file system without hard links.
            Err(errno) if is_unsupported(errno) || errno == Errno::PERM || errno == Errno::MLINK => {
                rename_after_check(from, to)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn is_unsupported(errno: Errno) -> bool {
        [Errno::INVAL, Errno::NOSYS, Errno::NOTSUP, Errno::OPNOTSUPP].contains(&errno)
    }

    fn rename_after_check(from: &Path, to: &Path) -> io::Result<Renamed> {
        match to.symlink_metadata() {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::rename(from, to)?;
                Ok(Renamed::AfterCheck)
            }
            Err(error) => Err(error),
        }
    }

    #[cfg(any(target_vendor = "apple", target_os = "linux", target_os = "android"))]
    fn rename_exclusively(from: &Path, to: &Path) -> rustix::io::Result<()> {
        rustix::fs::renameat_with(CWD, from, CWD, to, rustix::fs::RenameFlags::NOREPLACE)
    }

    #[cfg(not(any(target_vendor = "apple", target_os = "linux", target_os = "android")))]
    fn rename_exclusively(_: &Path, _: &Path) -> rustix::io::Result<()> {
        Err(Errno::NOSYS)
    }
}

#[cfg(windows)]
mod with_move_file {
    use std::os::windows::ffi::OsStrExt as _;

    use windows_sys::Win32::Storage::FileSystem::MoveFileExW;

    use super::super::super::paths::directory_of;
    use super::{Path, Renamed, io};

    /// Renames, or fails with `AlreadyExists`.
    #[expect(unsafe_code, reason = "std has no rename that does not replace")]
    pub fn rename_no_replace(from: &Path, to: &Path) -> io::Result<Renamed> {
        let (from, to) = (wide(from)?, wide(to)?);
        // SAFETY: both strings end in NUL and outlive the call.
        let done = unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), 0) };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(Renamed::Atomically) }
    }

    /// Returns the path as a NUL-terminated wide string. It is canonical, which lifts the limit of 260 characters.
    fn wide(path: &Path) -> io::Result<Vec<u16>> {
        let name = path.file_name().unwrap_or_default();
        Ok(directory_of(path).canonicalize()?.join(name).as_os_str().encode_wide().chain([0]).collect())
    }
}
