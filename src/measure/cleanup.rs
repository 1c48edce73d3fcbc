//! Removes the scratch directories of comparisons, including those that killed processes left.
//!
//! `.tdl-compare/` in the output directory has one directory for each comparison, named with sixteen hexadecimal
//! digits. That contains `files`, and `lock`, which names the process and is locked by it while it lives. Only a
//! directory that looks like this, belongs to this user and is not locked is removed: anything else named
//! `.tdl-compare` is not touched. If locks do not work, or only within one machine, the named process is looked up
//! instead.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

pub use imp::remove_directory;

use crate::part;
use crate::plan::COMPARE_DIRECTORY;

pub const LOCK: &str = "lock";
pub const FILES: &str = "files";

/// The first line of the lock file, followed by a token that names the process. It is written before `files` is
/// created.
pub const LOCK_FILE_HEADER: &[u8] = b"tdl --compare\n";

/// How much of a lock file is read, in bytes.
const MAX_LOCK_FILE: u64 = 4096;

/// Removes what killed comparisons left in an output directory.
pub fn remove_dead(directory: &Path) {
    let parent = directory.join(COMPARE_DIRECTORY);
    let exists = parent.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    if exists && imp::remove_dead(&parent).unwrap_or(false) {
        // Fails if a comparison is running.
        let _ = fs::remove_dir(&parent);
    }
}

/// Whether this is a name that a comparison gives its directory.
fn is_name(name: &[u8]) -> bool {
    name.len() == 16 && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns whether a directory with these names in it has `files`. Returns `None` if `lock` is missing, or if there is
/// anything else, so that it is not a comparison's directory.
fn check_names(names: &[&[u8]]) -> Option<bool> {
    let [has_lock, has_files] = [LOCK, FILES].map(|known| names.contains(&known.as_bytes()));
    (has_lock && names.len() == 1 + usize::from(has_files)).then_some(has_files)
}

/// Locks what may be the lock file of a comparison. Returns `None` if a living process holds it, or if it is not a lock
/// file. `has_files` says whether `files` exists beside it, which is created only after the header is written.
fn lock_abandoned(mut lock: File, has_files: bool) -> Option<File> {
    let has_lock = match lock.try_lock() {
        Ok(()) => true,
        Err(fs::TryLockError::WouldBlock) => return None,
        Err(fs::TryLockError::Error(_)) => false,
    };
    let mut text = Vec::new();
    (&mut lock).take(MAX_LOCK_FILE).read_to_end(&mut text).ok()?;
    let is_dead = match text.strip_prefix(LOCK_FILE_HEADER) {
        Some(token) => str::from_utf8(token).ok().and_then(part::process_has_ended).unwrap_or(has_lock),
        None => text.is_empty() && !has_files && has_lock,
    };
    is_dead.then_some(lock)
}

/// Works relative to open directories, so that a user who can write to the output directory cannot redirect a removal
/// elsewhere.
#[cfg(unix)]
mod imp {
    use std::ffi::CStr;
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, unlinkat};
    use rustix::io::Errno;
    use rustix::path::Arg;

    use super::*;

    /// Removes a comparison's directory, its lock file last.
    pub fn remove_directory(parent: &Path, name: &str) -> io::Result<()> {
        let parent = open_directory(CWD, parent)?;
        let root = open_directory(&parent, name)?;
        remove_all(&parent, name, &root)
    }

    /// Removes the directories that are certainly a comparison's and not in use. Returns whether the parent may be
    /// removed as well.
    pub fn remove_dead(parent: &Path) -> io::Result<bool> {
        let parent = open_directory(CWD, parent)?;
        let stat = fstat(&parent)?;
        if !is_ours(&stat) {
            return Ok(false);
        }
        // tdl creates the parent without access for others. A directory that a user created rarely has that mode.
        let mut may_remove_parent = stat.st_mode & (Mode::RWXG | Mode::RWXO).as_raw_mode() == 0;
        for name in names(&parent)?.iter().filter(|name| is_name(name.to_bytes())) {
            let Ok(root) = open_directory(&parent, name.as_c_str()) else { continue };
            may_remove_parent |= is_ours(&fstat(&root)?) && remove_if_dead(&parent, name, &root).unwrap_or(false);
        }
        Ok(may_remove_parent)
    }

    fn remove_if_dead(parent: &OwnedFd, name: &CStr, root: &OwnedFd) -> io::Result<bool> {
        let inside = names(root)?;
        if inside.is_empty() {
            return Ok(unlinkat(parent, name, AtFlags::REMOVEDIR).is_ok());
        }
        let Some(has_files) = check_names(&inside.iter().map(|name| name.to_bytes()).collect::<Vec<_>>()) else {
            return Ok(false);
        };
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let lock = openat(root, LOCK, flags, Mode::empty())?;
        let stat = fstat(&lock)?;
        if !(FileType::from_raw_mode(stat.st_mode).is_file() && is_ours(&stat) && stat.st_nlink == 1) {
            return Ok(false);
        }
        match lock_abandoned(lock.into(), has_files) {
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

    /// Whether nobody but this user and root can have created or changed it.
    fn is_ours(stat: &Stat) -> bool {
        let others = (Mode::WGRP | Mode::WOTH).as_raw_mode();
        stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & others == 0
    }
}

#[cfg(not(unix))]
mod imp {
    use super::*;

    /// Removes a comparison's directory.
    pub fn remove_directory(parent: &Path, name: &str) -> io::Result<()> {
        fs::remove_dir_all(parent.join(name))
    }

    /// Removes the directories that are certainly a comparison's and not in use. Returns whether the parent may be
    /// removed as well.
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
        let names = inside.iter().map(|name| name.as_encoded_bytes()).collect::<Vec<_>>();
        let Some(has_files) = check_names(&names) else { return Ok(false) };
        let path = root.join(LOCK);
        if !path.symlink_metadata()?.is_file() {
            return Ok(false);
        }
        match lock_abandoned(File::options().read(true).write(true).open(path)?, has_files) {
            None => Ok(false),
            Some(_lock) => fs::remove_dir_all(root).map(|()| true),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::measure::scratch::make_private;

    /// Creates a comparison's directory as a killed process leaves it.
    fn leave_behind(directory: &Path, name: &str, lock: Option<&[u8]>, has_files: bool) -> PathBuf {
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
    fn what_a_killed_process_left_is_removed_at_whatever_point_it_was_killed() {
        let dir = tempfile::tempdir().unwrap();
        for (lock, has_files) in
            [(None, false), (Some(&b""[..]), false), (Some(LOCK_FILE_HEADER), false), (Some(LOCK_FILE_HEADER), true)]
        {
            leave_behind(dir.path(), "0123456789abcdef", lock, has_files);
            remove_dead(dir.path());
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{lock:?} {has_files}");
        }
    }

    #[test]
    fn a_directory_that_may_not_be_tdls_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join(COMPARE_DIRECTORY);
        fs::create_dir(&parent).unwrap();
        remove_dead(dir.path());
        let mut kept = vec![
            leave_behind(dir.path(), "0000000000000000", None, true),
            leave_behind(dir.path(), "1111111111111111", Some(b"another's"), true),
            leave_behind(dir.path(), "2222222222222222", Some(b""), true),
            leave_behind(dir.path(), "of the user", Some(LOCK_FILE_HEADER), true),
        ];
        let more = leave_behind(dir.path(), "3333333333333333", Some(LOCK_FILE_HEADER), true);
        fs::write(more.join("more"), "").unwrap();
        kept.push(more);
        let gone = leave_behind(dir.path(), "4444444444444444", Some(LOCK_FILE_HEADER), true);
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
    fn a_running_process_keeps_its_scratch_directory_even_without_a_visible_lock() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let started = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(19).unwrap();
        let mut token: serde_json::Value = serde_json::from_str(&part::process_token()).unwrap();
        token["process"] = child.id().into();
        token["started"] = started.parse::<u64>().unwrap().into();
        let text = [LOCK_FILE_HEADER, token.to_string().as_bytes()].concat();
        let root = leave_behind(dir.path(), "0123456789abcdef", Some(&text), true);
        remove_dead(dir.path());
        assert!(root.exists());
        child.kill().unwrap();
        child.wait().unwrap();
        remove_dead(dir.path());
        assert!(!root.exists());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let victim = leave_behind(elsewhere.path(), "0123456789abcdef", Some(LOCK_FILE_HEADER), true);
        // In place of the parent, of a comparison's directory, of its files, and of what is in them.
        symlink(elsewhere.path().join(COMPARE_DIRECTORY), dir.path().join(COMPARE_DIRECTORY)).unwrap();
        remove_dead(dir.path());
        assert!(crate::measure::scratch::Scratch::create_in(dir.path()).is_err());
        fs::remove_file(dir.path().join(COMPARE_DIRECTORY)).unwrap();
        let root = leave_behind(dir.path(), "0000000000000000", Some(LOCK_FILE_HEADER), true);
        symlink(&victim, dir.path().join(COMPARE_DIRECTORY).join("1111111111111111")).unwrap();
        symlink(&victim, root.join(FILES).join("link")).unwrap();
        let linked = leave_behind(dir.path(), "2222222222222222", Some(LOCK_FILE_HEADER), false);
        symlink(victim.join(FILES), linked.join(FILES)).unwrap();
        let locked = leave_behind(dir.path(), "3333333333333333", None, false);
        symlink(victim.join(LOCK), locked.join(LOCK)).unwrap();
        // Another user may have created a directory that others can write to.
        let open = leave_behind(dir.path(), "4444444444444444", Some(LOCK_FILE_HEADER), true);
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        remove_dead(dir.path());
        assert!(victim.join(FILES).join("x").exists() && victim.join(LOCK).exists());
        assert!(!root.exists() && !linked.exists() && locked.exists() && open.exists());
    }
}
