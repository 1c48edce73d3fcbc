//! The scratch directory for the first run of a comparison, on the same file system as the targets. It is removed when
//! the comparison ends, or by a later run if the process was killed.
//!
//! `.tdl-compare/` in the output directory has one directory for each comparison, named with sixteen hexadecimal digits.
//! That contains `files`, and `lock`, which names the process and is locked by it while it lives. Only a directory that
//! looks like this, belongs to this user and is not locked is removed: anything else named `.tdl-compare` is not
//! touched. Where locks do not work, or only on one machine, the named process is looked up instead.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::part;
use crate::plan::COMPARE_DIRECTORY;
use crate::run::create_directory;

const LOCK: &str = "lock";
const FILES: &str = "files";

/// The first line of the lock file, followed by a token that names the process. It is written before `files` is made.
const MARK: &[u8] = b"tdl --compare\n";

/// Longest lock file that is read.
const MAX_LOCK_FILE: u64 = 4096;

/// Another process may remove the directories while they are being created, but not this many times.
const ATTEMPTS: usize = 10;

/// A scratch directory. Dropped, it is removed with everything in it.
#[derive(Debug)]
pub struct Scratch {
    parent: PathBuf,
    name: String,
    files: PathBuf,
    /// Locked, so that no other process considers the directory abandoned.
    _lock: File,
}

impl Scratch {
    /// Creates the directory, and the output directory if it is missing. Removes what killed comparisons have left there.
    ///
    /// # Errors
    ///
    /// The directory cannot be created, or `.tdl-compare` belongs to another user.
    pub fn create_in(directory: &Path) -> Result<Self, Error> {
        // Durable, because the run that follows may have to be.
        create_directory(directory, true)?;
        remove_dead(directory);
        let parent = directory.join(COMPARE_DIRECTORY);
        let mut attempt = 1;
        loop {
            match Self::create(&parent) {
                Ok(scratch) => return Ok(scratch),
                Err(error) if attempt < ATTEMPTS && is_race(&error) => attempt += 1,
                Err(source) => return Err(Error::Disk { action: "create the directory", path: parent, source }),
            }
        }
    }

    fn create(parent: &Path) -> io::Result<Self> {
        match make_private(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let of_parent = parent.symlink_metadata()?;
        if !of_parent.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let name = format!("{:016x}", fastrand::u64(..));
        let root = parent.join(&name);
        make_private(&root)?;
        // The owner of `.tdl-compare` could replace our directory by a link.
        if !has_same_owner(&of_parent, &root.symlink_metadata()?) {
            let _ = fs::remove_dir(&root);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"));
        }
        let mut lock = File::options().read(true).write(true).create_new(true).open(root.join(LOCK))?;
        match lock.try_lock() {
            Err(fs::TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            // Without locks, no other process can lock it either.
            Ok(()) | Err(fs::TryLockError::Error(_)) => {}
        }
        lock.write_all(&[MARK, part::process_token().as_bytes()].concat())?;
        let files = root.join(FILES);
        make_private(&files)?;
        // Another process may have removed it before it was locked.
        root.join(LOCK).symlink_metadata()?;
        Ok(Self { parent: parent.to_owned(), name, files, _lock: lock })
    }

    /// Where the files go.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.files
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // After an interrupt, a thread may still create a file in it.
        for _ in 0..ATTEMPTS {
            if imp::remove(&self.parent, &self.name).is_ok() {
                break;
            }
        }
        // Fails if another comparison is running.
        let _ = fs::remove_dir(&self.parent);
    }
}

/// Removes what killed comparisons have left in an output directory.
pub fn remove_dead(directory: &Path) {
    let parent = directory.join(COMPARE_DIRECTORY);
    let is_there = parent.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    if is_there && imp::remove_dead(&parent).unwrap_or(false) {
        // Fails if a comparison is running.
        let _ = fs::remove_dir(&parent);
    }
}

/// Whether an error can be due to another process that removes abandoned directories at this moment.
fn is_race(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, NotFound, WouldBlock};
    matches!(error.kind(), AlreadyExists | NotFound | WouldBlock)
}

/// Whether a comparison could have named a directory so.
fn is_name(name: &[u8]) -> bool {
    name.len() == 16 && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Locks what may be the lock file of a comparison. `None` if a living process holds it, or it is not one. `has_files`
/// tells whether `files` is beside it, which is created only after the first line is written.
fn lock_abandoned(mut lock: File, has_files: bool) -> Option<File> {
    let has_lock = match lock.try_lock() {
        Ok(()) => true,
        Err(fs::TryLockError::WouldBlock) => return None,
        Err(fs::TryLockError::Error(_)) => false,
    };
    let mut text = Vec::new();
    (&mut lock).take(MAX_LOCK_FILE).read_to_end(&mut text).ok()?;
    let is_dead = match text.strip_prefix(MARK) {
        Some(token) => str::from_utf8(token).ok().and_then(part::process_has_ended).unwrap_or(has_lock),
        None => text.is_empty() && !has_files && has_lock,
    };
    is_dead.then_some(lock)
}

#[cfg(unix)]
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;

    DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().create(path)
}

#[cfg(unix)]
fn has_same_owner(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    one.uid() == other.uid()
}

#[cfg(not(unix))]
const fn has_same_owner(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// Everything is done relative to open directories. A user who can write to the output directory cannot redirect a
/// removal elsewhere.
#[cfg(unix)]
mod imp {
    use std::ffi::CStr;
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, unlinkat};
    use rustix::io::Errno;
    use rustix::path::Arg;

    use super::*;

    /// Removes a comparison's directory. The lock file goes last.
    pub fn remove(parent: &Path, name: &str) -> io::Result<()> {
        let parent = open_directory(CWD, parent)?;
        let root = open_directory(&parent, name)?;
        remove_all(&parent, name, &root)
    }

    /// Removes what is certainly a comparison's and not in use. Returns whether the parent may be removed as well.
    pub fn remove_dead(parent: &Path) -> io::Result<bool> {
        let parent = open_directory(CWD, parent)?;
        let stat = fstat(&parent)?;
        if !is_ours(&stat) {
            return Ok(false);
        }
        // tdl creates it without access for others. A directory that a user made rarely has that mode.
        let mut may_go = stat.st_mode & (Mode::RWXG | Mode::RWXO).as_raw_mode() == 0;
        for name in names(&parent)?.iter().filter(|name| is_name(name.to_bytes())) {
            let Ok(root) = open_directory(&parent, name.as_c_str()) else { continue };
            may_go |= is_ours(&fstat(&root)?) && remove_if_dead(&parent, name, &root).unwrap_or(false);
        }
        Ok(may_go)
    }

    fn remove_if_dead(parent: &OwnedFd, name: &CStr, root: &OwnedFd) -> io::Result<bool> {
        let inside = names(root)?;
        if inside.is_empty() {
            return Ok(unlinkat(parent, name, AtFlags::REMOVEDIR).is_ok());
        }
        let [lock, files] = [LOCK, FILES].map(|known| inside.iter().any(|name| name.to_bytes() == known.as_bytes()));
        if !lock || inside.len() != 1 + usize::from(files) {
            return Ok(false);
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let lock = openat(root, LOCK, flags, Mode::empty())?;
        let stat = fstat(&lock)?;
        if !(FileType::from_raw_mode(stat.st_mode).is_file() && is_ours(&stat) && stat.st_nlink == 1) {
            return Ok(false);
        }
        match lock_abandoned(lock.into(), files) {
            None => Ok(false),
            Some(_lock) => remove_all(parent, name, root).map(|()| true),
        }
    }

    fn remove_all(parent: &OwnedFd, name: impl Arg, root: &OwnedFd) -> io::Result<()> {
        for name in [FILES, LOCK] {
            match remove_tree(root, name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
    }

    /// Removes a file, or a directory with its contents. Links are not followed.
    fn remove_tree(parent: &OwnedFd, name: impl Arg + Copy) -> io::Result<()> {
        match open_directory(parent, name) {
            Ok(directory) => {
                for name in names(&directory)? {
                    remove_tree(&directory, name.as_c_str())?;
                }
                Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
            }
            Err(Errno::NOTDIR | Errno::LOOP | Errno::MLINK) => Ok(unlinkat(parent, name, AtFlags::empty())?),
            Err(error) => Err(error.into()),
        }
    }

    fn open_directory(parent: impl AsFd, name: impl Arg) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(parent, name, flags, Mode::empty())
    }

    fn names(directory: &OwnedFd) -> io::Result<Vec<std::ffi::CString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        Ok(names)
    }

    /// Whether only this user, and root, can have created and changed it.
    fn is_ours(stat: &Stat) -> bool {
        let others = (Mode::WGRP | Mode::WOTH).as_raw_mode();
        stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & others == 0
    }
}

#[cfg(not(unix))]
mod imp {
    use super::*;

    /// Removes a comparison's directory.
    pub fn remove(parent: &Path, name: &str) -> io::Result<()> {
        fs::remove_dir_all(parent.join(name))
    }

    /// Removes what is certainly a comparison's and not in use. Returns whether the parent may be removed as well.
    pub fn remove_dead(parent: &Path) -> io::Result<bool> {
        let mut any = false;
        for entry in fs::read_dir(parent)? {
            let entry = entry?;
            let is_named = entry.file_name().to_str().is_some_and(|name| is_name(name.as_bytes()));
            any |= is_named && entry.file_type()?.is_dir() && remove_if_dead(&entry.path()).unwrap_or(false);
        }
        Ok(any)
    }

    fn remove_if_dead(root: &Path) -> io::Result<bool> {
        let inside = fs::read_dir(root)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        if inside.is_empty() {
            return Ok(fs::remove_dir(root).is_ok());
        }
        let [lock, files] = [LOCK, FILES].map(|known| inside.iter().any(|name| name == known));
        let path = root.join(LOCK);
        if !lock || inside.len() != 1 + usize::from(files) || !path.symlink_metadata()?.is_file() {
            return Ok(false);
        }
        match lock_abandoned(File::options().read(true).write(true).open(path)?, files) {
            None => Ok(false),
            Some(_lock) => fs::remove_dir_all(root).map(|()| true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A comparison's directory of which the process was killed at some moment.
    fn dead(directory: &Path, name: &str, lock: Option<&[u8]>, has_files: bool) -> PathBuf {
        let parent = directory.join(COMPARE_DIRECTORY);
        let _ = make_private(&parent);
        let root = parent.join(name);
        make_private(&root).unwrap();
        if let Some(text) = lock {
            fs::write(root.join(LOCK), text).unwrap();
        }
        if has_files {
            make_private(&root.join(FILES)).unwrap();
            fs::write(root.join(FILES).join("x"), "half").unwrap();
        }
        root
    }

    #[test]
    fn what_a_killed_process_left_is_removed_whenever_it_was_killed() {
        let dir = tempfile::tempdir().unwrap();
        for (lock, has_files) in [(None, false), (Some(&b""[..]), false), (Some(MARK), false), (Some(MARK), true)] {
            dead(dir.path(), "0123456789abcdef", lock, has_files);
            remove_dead(dir.path());
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{lock:?} {has_files}");
        }
    }

    #[test]
    fn what_is_not_provably_tdls_stays() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join(COMPARE_DIRECTORY);
        fs::create_dir(&parent).unwrap();
        remove_dead(dir.path());
        let mut kept = vec![
            dead(dir.path(), "0000000000000000", None, true),
            dead(dir.path(), "1111111111111111", Some(b"another's"), true),
            dead(dir.path(), "2222222222222222", Some(b""), true),
            dead(dir.path(), "of the user", Some(MARK), true),
        ];
        let more = dead(dir.path(), "3333333333333333", Some(MARK), true);
        fs::write(more.join("more"), "").unwrap();
        kept.push(more);
        let gone = dead(dir.path(), "4444444444444444", Some(MARK), true);
        remove_dead(dir.path());
        for root in kept {
            assert!(root.exists(), "{}", root.display());
        }
        assert!(!gone.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_parent_that_a_killed_process_left_empty_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join(COMPARE_DIRECTORY);
        make_private(&parent).unwrap();
        fs::create_dir(parent.join("of the user")).unwrap();
        remove_dead(dir.path());
        assert!(parent.exists());
        fs::remove_dir(parent.join("of the user")).unwrap();
        remove_dead(dir.path());
        assert!(!parent.exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_runs_keeps_its_comparison_though_its_lock_is_not_seen() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let started = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(19).unwrap();
        let mut token: serde_json::Value = serde_json::from_str(&part::process_token()).unwrap();
        token["process"] = child.id().into();
        token["started"] = started.parse::<u64>().unwrap().into();
        let text = [MARK, token.to_string().as_bytes()].concat();
        let root = dead(dir.path(), "0123456789abcdef", Some(&text), true);
        remove_dead(dir.path());
        assert!(root.exists());
        child.kill().unwrap();
        child.wait().unwrap();
        remove_dead(dir.path());
        assert!(!root.exists());
    }

    #[test]
    fn what_is_in_use_stays_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::create_in(dir.path()).unwrap();
        let other = Scratch::create_in(dir.path()).unwrap();
        for scratch in [&scratch, &other] {
            fs::create_dir(scratch.path().join("deep")).unwrap();
            fs::write(scratch.path().join("deep/x"), "x").unwrap();
        }
        remove_dead(dir.path());
        assert!(scratch.path().join("deep/x").exists());
        drop(scratch);
        assert!(other.path().join("deep/x").exists());
        drop(other);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn no_link_is_followed() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let victim = dead(elsewhere.path(), "0123456789abcdef", Some(MARK), true);
        // In place of the parent, of a comparison's directory, of its files, and of what is in them.
        symlink(elsewhere.path().join(COMPARE_DIRECTORY), dir.path().join(COMPARE_DIRECTORY)).unwrap();
        remove_dead(dir.path());
        assert!(Scratch::create_in(dir.path()).is_err());
        fs::remove_file(dir.path().join(COMPARE_DIRECTORY)).unwrap();
        let root = dead(dir.path(), "0000000000000000", Some(MARK), true);
        symlink(&victim, dir.path().join(COMPARE_DIRECTORY).join("1111111111111111")).unwrap();
        symlink(&victim, root.join(FILES).join("link")).unwrap();
        let linked = dead(dir.path(), "2222222222222222", Some(MARK), false);
        symlink(victim.join(FILES), linked.join(FILES)).unwrap();
        let locked = dead(dir.path(), "3333333333333333", None, false);
        symlink(victim.join(LOCK), locked.join(LOCK)).unwrap();
        // What others may write to, they may have made.
        let open = dead(dir.path(), "4444444444444444", Some(MARK), true);
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        remove_dead(dir.path());
        assert!(victim.join(FILES).join("x").exists() && victim.join(LOCK).exists());
        assert!(!root.exists() && !linked.exists() && locked.exists() && open.exists());
    }
}
