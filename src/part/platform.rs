//! What differs by platform about files: opening without following links, telling whether a path still is
//! the file that was opened, renaming without replacing.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

pub use imp::{
    free_space, has_no_locks, has_one_name, is_at, is_link_to, preallocate, rename_no_replace, sync_directory, write_at,
};

/// Opens a part file, or makes one where nothing is, for reading and writing, without following a link and without
/// waiting for a FIFO's reader.
pub fn open_part(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(create);
    imp::follow_nothing(&mut options);
    options.open(path)
}

/// Opens a file that may be anyone's for reading, without following a link and without waiting for a FIFO's writer.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    imp::follow_nothing(&mut options);
    options.open(path)
}

/// Whether a lock holds against every machine. On Windows the file's server keeps it; elsewhere it may be local.
pub const LOCKS_ARE_PROOF: bool = cfg!(windows);

/// How a rename that must not replace anything was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renamed {
    /// In one step, or by a hard link: nothing can have been replaced.
    Exclusively,
    /// The file system has neither. The new name was looked for first, and a file that appeared in between is gone.
    AfterALook,
}

#[cfg(unix)]
mod imp {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};

    use rustix::fs::{CWD, OFlags};
    use rustix::io::Errno;

    use super::*;

    /// Writes all bytes at a place, whatever other threads write elsewhere.
    pub fn write_at(file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
        file.write_all_at(bytes, position)
    }

    pub fn follow_nothing(options: &mut OpenOptions) {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        options.custom_flags(flags.bits().cast_signed());
    }

    /// Whether `path` still names the file that was opened.
    pub fn is_at(_: &File, opened: &Metadata, path: &Path) -> io::Result<bool> {
        match path.symlink_metadata() {
            Ok(there) => Ok(is_same(opened, &there)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn is_same(one: &Metadata, other: &Metadata) -> bool {
        (one.dev(), one.ino()) == (other.dev(), other.ino())
    }

    /// Whether a file is the one at `target`, under another name.
    pub fn is_link_to(meta: &Metadata, target: &Path) -> bool {
        meta.nlink() > 1 && target.symlink_metadata().is_ok_and(|there| is_same(meta, &there))
    }

    /// Whether a file has no further hard link.
    pub fn has_one_name(meta: &Metadata) -> bool {
        meta.nlink() == 1
    }

    pub fn has_no_locks(error: &io::Error) -> bool {
        let unsupported = [Errno::NOSYS, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOLCK, Errno::INVAL];
        error.kind() == io::ErrorKind::Unsupported
            || unsupported.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
    }

    /// Renames, or fails with `AlreadyExists`. Where the file system cannot do that in one step, a hard link can; where
    /// it has no hard links either (some FUSE file systems), a look and a rename must do.
    pub fn rename_no_replace(from: &Path, to: &Path) -> io::Result<Renamed> {
        match rename_exclusively(from, to) {
            Err(errno) if is_unsupported(errno) => {}
            done => return Ok(done.map(|()| Renamed::Exclusively)?),
        }
        match rustix::fs::linkat(CWD, from, CWD, to, rustix::fs::AtFlags::empty()) {
            // What has the new name is whole, whatever becomes of the old one; the next run removes that.
            Ok(()) => {
                let _ = std::fs::remove_file(from);
                Ok(Renamed::Exclusively)
            }
            // EPERM is what link(2) says of a file system without hard links.
            Err(errno) if is_unsupported(errno) || errno == Errno::PERM || errno == Errno::MLINK => {
                rename_after_a_look(from, to)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn is_unsupported(errno: Errno) -> bool {
        [Errno::INVAL, Errno::NOSYS, Errno::NOTSUP, Errno::OPNOTSUPP].contains(&errno)
    }

    fn rename_after_a_look(from: &Path, to: &Path) -> io::Result<Renamed> {
        match to.symlink_metadata() {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::rename(from, to)?;
                Ok(Renamed::AfterALook)
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

    /// Bytes that are free for this user where `path` is, unless the file system does not count them: ramfs and some
    /// FUSE file systems have no blocks at all.
    pub fn free_space(path: &Path) -> Option<u64> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let stat = rustix::fs::statvfs(directory).ok().filter(|stat| stat.f_blocks > 0)?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Keeps room for a file of this length, and makes it so long where that costs nothing.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn preallocate(file: &File, length: u64) -> io::Result<()> {
        use rustix::fs::FallocateFlags;

        /// `MSDOS_SUPER_MAGIC`: vfat has no unwritten extents, and makes a file longer by writing zeros.
        const VFAT: u64 = 0x4d44;

        #[expect(clippy::allow_attributes, reason = "the type of the field differs by platform")]
        #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "only the bits are compared")]
        let is_vfat = rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type as u64 == VFAT);
        let flags = if is_vfat { FallocateFlags::KEEP_SIZE } else { FallocateFlags::empty() };
        Ok(rustix::fs::fallocate(file, flags, 0, length)?)
    }

    /// Keeps room for a file; not here.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub fn preallocate(_: &File, _: u64) -> io::Result<()> {
        Ok(())
    }

    pub fn sync_directory(directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

#[cfg(windows)]
mod imp {
    use std::os::windows::ffi::OsStrExt as _;
    use std::os::windows::fs::{FileExt as _, OpenOptionsExt as _};

    use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_OPEN_REPARSE_POINT, MoveFileExW};

    use super::*;

    /// Writes all bytes at a place, whatever other threads write elsewhere.
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

    pub fn follow_nothing(options: &mut OpenOptions) {
        options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
    }

    /// Whether `path` still names the file that was opened.
    pub fn is_at(file: &File, _: &Metadata, path: &Path) -> io::Result<bool> {
        let opened = same_file::Handle::from_file(file.try_clone()?)?;
        match same_file::Handle::from_path(path) {
            Ok(there) => Ok(opened == there),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Nothing here commits by linking, so a part file is never its target.
    pub const fn is_link_to(_: &Metadata, _: &Path) -> bool {
        false
    }

    /// Not looked at here.
    pub const fn has_one_name(_: &Metadata) -> bool {
        true
    }

    pub fn has_no_locks(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::Unsupported
    }

    /// Renames, or fails with `AlreadyExists`.
    #[expect(unsafe_code, reason = "std has no rename that does not replace")]
    pub fn rename_no_replace(from: &Path, to: &Path) -> io::Result<Renamed> {
        let (from, to) = (wide(from)?, wide(to)?);
        // SAFETY: both strings end in NUL and outlive the call.
        let done = unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), 0) };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(Renamed::Exclusively) }
    }

    /// The path as the system wants it; canonical, and so free of the limit of 260 characters.
    fn wide(path: &Path) -> io::Result<Vec<u16>> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default();
        Ok(parent.canonicalize()?.join(name).as_os_str().encode_wide().chain([0]).collect())
    }

    /// Not asked here: a full disk shows when it is written to.
    pub const fn free_space(_: &Path) -> Option<u64> {
        None
    }

    /// Keeps room for a file; not here.
    pub fn preallocate(_: &File, _: u64) -> io::Result<()> {
        Ok(())
    }

    /// A directory cannot be opened to be synced here; the rename is in the file system's journal.
    pub fn sync_directory(_: &Path) -> io::Result<()> {
        Ok(())
    }
}
