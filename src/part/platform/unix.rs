//! File operations on Linux, macOS and other Unix systems.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Whether a lock excludes processes on every machine. On network file systems a lock may hold on one machine only.
pub const LOCKS_SPAN_MACHINES: bool = false;

/// Makes opening fail on a symbolic link, and not wait for the other end of a FIFO.
pub fn set_no_follow(options: &mut OpenOptions) {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.custom_flags(flags.bits().cast_signed());
}

/// Writes all bytes at `position`. Other threads may write elsewhere in the file at the same time.
pub fn write_at(file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
    file.write_all_at(bytes, position)
}

/// Whether `path` still names the file that was opened.
pub fn is_at(_: &File, opened: &Metadata, path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(found) => Ok(is_same(opened, &found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a file is a hard link to the one at `target`.
pub fn is_link_to(meta: &Metadata, target: &Path) -> bool {
    meta.nlink() > 1 && target.symlink_metadata().is_ok_and(|found| is_same(meta, &found))
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Whether a file has exactly one name.
pub fn has_single_link(meta: &Metadata) -> bool {
    meta.nlink() == 1
}

/// Whether locking failed because the file system has no locks.
pub fn is_lock_unsupported(error: &io::Error) -> bool {
    let unsupported = [Errno::NOSYS, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOLCK, Errno::INVAL];
    error.kind() == io::ErrorKind::Unsupported
        || unsupported.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Returns how many bytes this user can still write in `directory`, unless the file system does not count them: ramfs
/// and some FUSE file systems report no blocks at all.
pub fn free_space(directory: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(directory).ok().filter(|stat| stat.f_blocks > 0)?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Reserves disk space for a file of this length, and extends the file to it unless that means writing zeros.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn preallocate(file: &File, length: u64) -> io::Result<()> {
    use rustix::fs::FallocateFlags;

    /// `MSDOS_SUPER_MAGIC`: vfat has no unwritten extents, and extends a file by writing zeros.
    const VFAT: u64 = 0x4d44;

    #[expect(clippy::allow_attributes, reason = "the type of the field differs by platform")]
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "only the bits are compared")]
    let is_vfat = rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type as u64 == VFAT);
    let flags = if is_vfat { FallocateFlags::KEEP_SIZE } else { FallocateFlags::empty() };
    Ok(rustix::fs::fallocate(file, flags, 0, length)?)
}

/// Does nothing: only Linux has `fallocate`.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn preallocate(_: &File, _: u64) -> io::Result<()> {
    Ok(())
}

pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
