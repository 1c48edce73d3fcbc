//! Opening a part file: locking it, determining who owns it and whether it can be resumed, and claiming it.

use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::directory::sync_parent;
use super::errors::{disk_error, locked_error};
use super::move_aside::{MoveLog, describe_move, move_aside};
use super::owner::LockScope;
use super::part_file::PartFile;
use super::paths::directory_of;
use super::process::new_owner;
use super::sidecar::{Sidecar, SidecarError};
use super::sidecar_reader::{NOT_OURS, RawSidecar, SidecarState, check_foreign_unowned, find_sidecar};
use super::sidecar_temporary::{Durability, remove_abandoned};
use super::{platform, sidecar_file, trust};
use crate::error::Error;
use crate::url::WebUrl;

/// What was found at a part file's path.
#[derive(Debug, Default)]
pub struct Existing {
    /// The part file of an earlier attempt or run.
    pub part: Option<PartFile>,
    /// Why its bytes cannot be resumed, as a message for the user.
    pub unusable_because: Option<String>,
    /// A message for the user about a file that was moved aside.
    pub moved_aside: Option<String>,
}

impl PartFile {
    /// Opens and locks the part file at `path`, and determines whether a download of `url` to `target` can resume it. A
    /// file that is not tdl's is moved aside, to `path` with `.kept` appended.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process holds it, [`Error::NotAFile`] for links, directories and devices,
    /// [`Error::InTheWay`] if it is not tdl's and cannot be moved aside.
    pub fn open_existing(path: &Path, target: &Path, url: &WebUrl) -> Result<Existing, Error> {
        let (mut part, meta) = loop {
            match Self::open(path, false, &Arc::default()) {
                Err(Error::Disk { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    // The part file may have been removed without its sidecar.
                    sidecar_file::remove_orphaned_sidecar(path)?;
                    return Ok(Existing::default());
                }
                // Left by a run that died between linking a part file to its target and removing the part file.
                Ok((_, meta)) if platform::is_link_to(&meta, target) => {
                    fs::remove_file(path).map_err(|error| disk_error("remove", path, error))?;
                }
                Err(failure) => return judge_unopenable(path, failure),
                Ok(opened) => break opened,
            }
        };
        let scope = part.lock_scope();
        if let Some(why) = find_trust_problem(&meta, path)? {
            check_foreign_unowned(path, scope)?;
            return report_moved(path, why);
        }
        let is_empty = meta.len() == 0;
        let sidecar = match find_sidecar(path)? {
            SidecarState::Ours(sidecar) => sidecar,
            // Another process may be about to write the sidecar. The first to do so owns the file.
            SidecarState::Missing | SidecarState::Foreign(_) if is_empty => {
                part.is_new = true;
                return Ok(Existing { part: Some(part), ..Existing::default() });
            }
            SidecarState::Missing | SidecarState::Foreign(NOT_OURS) => return report_moved(path, NOT_OURS),
            SidecarState::Foreign(why) => return report_moved(path, &format!("has a sidecar that {why}")),
        };
        sidecar.check_unowned(path, scope)?;
        remove_abandoned(path, scope);
        let unusable_because = part.take_over(&sidecar, url, meta.len())?.filter(|_| !is_empty).map(ToOwned::to_owned);
        Ok(Existing { part: Some(part), unusable_because, moved_aside: None })
    }

    /// Takes over what another attempt or run left. Returns why it cannot be resumed, if so.
    fn take_over(&self, raw: &RawSidecar, url: &WebUrl, length: u64) -> Result<Option<&'static str>, Error> {
        let sidecar = match Sidecar::parse(&raw.text, url, length) {
            Ok(sidecar) if sidecar.validator.is_some() => sidecar.owned_by(Some(new_owner())),
            Ok(_) => return Ok(Some("the server sent no usable validator (ETag or Last-Modified)")),
            Err(SidecarError::Invalid | SidecarError::NotOurs) => {
                return Ok(Some("the sidecar of the partial download is damaged"));
            }
            Err(SidecarError::OtherUrl) => return Ok(Some("the partial download is from a different URL")),
            Err(SidecarError::NewerVersion) => {
                return Ok(Some("the partial download was left by a newer version of tdl"));
            }
        };
        let (scope, moved) = (self.lock_scope(), &self.shared.moved);
        sidecar_file::take_over(self.path(), &sidecar, raw, Durability::Unsynced, scope, moved)?;
        let (done, length) = (sidecar.done.clone(), sidecar.length);
        self.shared.start_writing(Some(sidecar), done, length);
        Ok(None)
    }

    /// Opens the replacement that a killed run was writing beside another part file. Removes it if it cannot be
    /// resumed. Without a sidecar made by tdl it stays untouched, because its name is not needed yet.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process holds it, or [`Error::Disk`].
    pub fn open_replacement(path: &Path, target: &Path, url: &WebUrl) -> Result<Option<Self>, Error> {
        let Ok(SidecarState::Ours(_)) = find_sidecar(path) else { return Ok(None) };
        match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                sidecar_file::remove_orphaned_sidecar(path).map(|()| None)
            }
            Err(error) => Err(disk_error("inspect", path, error)),
            Ok(meta) if !meta.is_file() => Ok(None),
            Ok(meta) if !platform::is_link_to(&meta, target) && find_trust_problem(&meta, path)?.is_some() => Ok(None),
            Ok(_) => match Self::open_existing(path, target, url)?.part {
                Some(part) if part.received() > 0 => Ok(Some(part)),
                Some(part) => {
                    part.discard();
                    Ok(None)
                }
                None => Ok(None),
            },
        }
    }

    /// Creates and locks a file at `path`, which must not exist.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process has just created one.
    pub fn create(path: &Path) -> Result<Self, Error> {
        Self::create_with(path, &Arc::default())
    }

    /// Replaces this part file with a new, empty one. It is removed rather than truncated: a process presumed dead may
    /// still be writing to it.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process has the part file now, or [`Error::Disk`].
    pub fn replace_with_empty(self) -> Result<Self, Error> {
        if self.is_new {
            return Ok(self);
        }
        let (path, had_bytes) = (self.path().to_owned(), self.received() > 0);
        let moved = Arc::clone(&self.shared.moved);
        self.discard();
        if had_bytes {
            // After a power failure, the old sidecar must not be found beside the new bytes.
            sync_parent(&path)?;
        }
        Self::create_with(&path, &moved)
    }

    fn create_with(path: &Path, moved: &Arc<MoveLog>) -> Result<Self, Error> {
        match Self::open(path, true, moved) {
            Ok((part, _)) => Ok(part),
            Err(Error::Disk { source, path, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Err(locked_error(&path))
            }
            Err(failure) => Err(failure),
        }
    }

    fn open(path: &Path, create: bool, moved: &Arc<MoveLog>) -> Result<(Self, Metadata), Error> {
        loop {
            let file = match platform::open_part(path, create) {
                Ok(file) => file,
                Err(error) if error.kind() != io::ErrorKind::NotFound && platform::is_not_a_file(path) => {
                    return Err(Error::NotAFile(path.to_owned()));
                }
                Err(error) => return Err(disk_error("open", path, error)),
            };
            let is_locked = try_lock(&file, path)?;
            // Read after locking, to see what another process wrote before it unlocked.
            let meta = file.metadata().map_err(|error| disk_error("inspect", path, error))?;
            if !meta.is_file() {
                return Err(Error::NotAFile(path.to_owned()));
            }
            let part = Self::new(path.to_owned(), file, is_locked, create, Arc::clone(moved));
            // Between opening and locking, another process may have committed the file.
            if part.shared.file.is_in_place(&meta)? {
                return Ok((part, meta));
            }
        }
    }
}

/// Handles a part file that could not be opened: moves it aside if it belongs to another user, unless a process is
/// writing to it.
fn judge_unopenable(path: &Path, failure: Error) -> Result<Existing, Error> {
    let is_denied = matches!(&failure, Error::Disk { source, .. } if source.kind() == io::ErrorKind::PermissionDenied);
    let Some(meta) = path.symlink_metadata().ok().filter(|_| is_denied) else { return Err(failure) };
    let Some(why) = find_trust_problem(&meta, path)? else { return Err(failure) };
    // Locking does not need write permission.
    let is_held = |file: File| matches!(file.try_lock(), Err(TryLockError::WouldBlock));
    if platform::open_to_read(path).is_ok_and(is_held) {
        return Err(locked_error(path));
    }
    check_foreign_unowned(path, LockScope::ThisMachine)?;
    report_moved(path, why)
}

fn find_trust_problem(meta: &Metadata, path: &Path) -> Result<Option<&'static str>, Error> {
    let directory = directory_of(path);
    trust::find_trust_problem(meta, directory).map_err(|error| disk_error("write to", directory, error))
}

fn report_moved(path: &Path, why: &str) -> Result<Existing, Error> {
    let new_path = move_aside(path, why)?;
    Ok(Existing { moved_aside: Some(describe_move(path, why, &new_path)), ..Existing::default() })
}

/// Locks the file for this process; returns `false` if the file system has no locks.
fn try_lock(file: &File, path: &Path) -> Result<bool, Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Err(locked_error(path)),
        Err(TryLockError::Error(error)) if platform::is_lock_unsupported(&error) => Ok(false),
        Err(TryLockError::Error(error)) => Err(disk_error("lock", path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::commit::CommitMode;
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_part_file_that_cannot_be_resumed_is_replaced_and_not_truncated() {
        use std::io::Read as _;

        let dir = tempfile::tempdir().unwrap();
        start_in(dir.path(), b"half").keep_for_resume();
        let mut slow = File::open(dir.path().join("x.part")).unwrap();
        let other = WebUrl::parse("http://h/other").unwrap();
        let existing = PartFile::open_existing(&dir.path().join("x.part"), &dir.path().join("x"), &other).unwrap();
        assert!(existing.part.unwrap().replace_with_empty().unwrap().start(&other, None, None).is_ok());
        let mut text = String::new();
        slow.read_to_string(&mut text).unwrap();
        assert_eq!(text, "half", "what another process has open is not truncated");
    }

    #[cfg(unix)]
    #[test]
    fn a_part_file_that_others_could_have_written_is_moved_aside() {
        use std::os::unix::fs::PermissionsExt as _;

        for name in ["x.part", "x.part.json"] {
            for (case, why) in [("mode", "is writable by other users"), ("link", "has another hard link")] {
                let dir = tempfile::tempdir().unwrap();
                start_in(dir.path(), b"half").keep_for_resume();
                let path = dir.path().join(name);
                match case {
                    "mode" => fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap(),
                    _ => fs::hard_link(&path, dir.path().join("the user's")).unwrap(),
                }
                let existing = open_in(dir.path()).unwrap();
                assert!(
                    existing.part.is_none() && existing.moved_aside.as_ref().unwrap().contains(why),
                    "{existing:?}"
                );
                let mut part = start_in(dir.path(), b"new");
                part.write(b"er").unwrap();
                part.shared.save_checkpoint().unwrap();
                part.commit(&dir.path().join("x"), CommitMode::NoReplace).unwrap();
                assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"newer");
                assert_eq!(fs::read(dir.path().join("x.part.kept")).unwrap(), b"half");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_part_file_of_another_user_is_moved_aside() {
        for name in ["x.part", "x.part.json"] {
            let dir = tempfile::tempdir().unwrap();
            start_in(dir.path(), b"half").keep_for_resume();
            if std::os::unix::fs::chown(dir.path().join(name), Some(12_345), None).is_err() {
                // Only root can give a file away.
                return;
            }
            let existing = open_in(dir.path()).unwrap();
            assert!(existing.part.is_none() && existing.moved_aside.unwrap().contains("belongs to another user"));
        }
    }

    #[test]
    fn a_part_file_that_cannot_be_resumed_is_discarded_with_a_reason() {
        for (sidecar, why) in [
            (r#"{"version":1,"url":"http://h/x"}"#, "is damaged"),
            (r#"{"version":7,"url":"?"}"#, "a newer version of tdl"),
            (r#"{"version":1,"url":"http://h/y","validator":null,"length":null,"done":[]}"#, "from a different URL"),
            (
                r#"{"version":1,"url":"http://h/x","validator":null,"length":null,"done":[]}"#,
                "sent no usable validator",
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("x.part"), b"something much longer").unwrap();
            fs::write(dir.path().join("x.part.json"), sidecar).unwrap();
            let existing = open_in(dir.path()).unwrap();
            assert!(existing.unusable_because.as_ref().unwrap().contains(why), "{existing:?}");
            assert_eq!(existing.part.as_ref().unwrap().received(), 0);
            drop(existing);
            assert!(start_in(dir.path(), b"new").commit(&dir.path().join("x"), CommitMode::NoReplace).unwrap());
            assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"new");
            assert_eq!(names(dir.path()), ["x"]);
        }
    }

    #[test]
    fn a_foreign_file_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.part"), "the user's").unwrap();
        let existing = open_in(dir.path()).unwrap();
        assert!(existing.part.is_none() && existing.moved_aside.unwrap().contains("is not tdl's"));
        assert_eq!(names(dir.path()), ["x.part.kept"]);
        assert_eq!(fs::read(dir.path().join("x.part.kept")).unwrap(), b"the user's");
    }

    #[test]
    fn a_foreign_file_at_the_sidecar_path_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.part.json"), "the user's").unwrap();
        assert!(open_in(dir.path()).unwrap().part.is_none());
        start_in(dir.path(), b"whole").commit(&dir.path().join("x"), CommitMode::NoReplace).unwrap();
        assert_eq!(names(dir.path()), ["x", "x.part.json.kept"]);
        assert_eq!(fs::read(dir.path().join("x.part.json.kept")).unwrap(), b"the user's");
    }

    #[test]
    fn an_empty_part_file_does_not_make_a_foreign_sidecar_ours() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.part"), "").unwrap();
        fs::write(dir.path().join("x.part.json"), "the user's").unwrap();
        fs::write(dir.path().join("x.part.tmp"), "the user's too").unwrap();
        let part = start_in(dir.path(), b"whole");
        // A checkpoint needs the temporary name as well.
        part.shared.save_checkpoint().unwrap();
        part.commit(&dir.path().join("x"), CommitMode::NoReplace).unwrap();
        assert_eq!(names(dir.path()), ["x", "x.part.json.kept", "x.part.tmp.kept"]);
        assert_eq!(fs::read(dir.path().join("x.part.json.kept")).unwrap(), b"the user's");
        assert_eq!(fs::read(dir.path().join("x.part.tmp.kept")).unwrap(), b"the user's too");
    }

    #[test]
    fn a_temporary_file_of_a_dead_process_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let text = Sidecar::new(&url(), validator(), None).to_json().unwrap();
        for (length, age, remains) in
            [(text.len(), 0, false), (30, 61, false), (30, 0, true), (0, 61, true), (5, 61, true)]
        {
            start_in(dir.path(), b"half").keep_for_resume();
            fs::write(dir.path().join("x.part.tmp"), &text[..length]).unwrap();
            make_older(&dir.path().join("x.part.tmp"), age);
            let existing = open_in(dir.path());
            let kept = dir.path().join("x.part.tmp.kept");
            match (remains, age) {
                (true, 0) => assert!(matches!(existing, Err(Error::Locked { .. })), "{existing:?}"),
                _ => assert_eq!((existing.unwrap().part.unwrap().received(), kept.exists()), (4, remains), "{length}"),
            }
            fs::remove_dir_all(dir.path()).unwrap();
            fs::create_dir(dir.path()).unwrap();
        }
    }

    #[test]
    fn only_a_replacement_made_by_tdl_is_opened_or_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.part.new");
        let open = || PartFile::open_replacement(&path, &dir.path().join("x"), &url()).unwrap();
        let sidecar = dir.path().join("x.part.new.json");
        for (content, of_sidecar, remaining) in [
            (Some("the user's"), None, &["x.part.new"][..]),
            (Some(""), None, &["x.part.new"]),
            (Some("the user's"), Some("the user's too"), &["x.part.new", "x.part.new.json"]),
            (None, Some("the user's"), &["x.part.new.json"]),
            (None, Some(EMPTY_SIDECAR), &[]),
            (Some("unusable"), Some(EMPTY_SIDECAR), &[]),
            (Some(""), Some(EMPTY_SIDECAR), &[]),
        ] {
            let _ = content.map(|content| fs::write(&path, content).unwrap());
            let _ = of_sidecar.map(|text| fs::write(&sidecar, text).unwrap());
            assert!(open().is_none());
            assert_eq!(names(dir.path()), remaining, "{content:?} {of_sidecar:?}");
            let _ = (fs::remove_file(&path), fs::remove_file(&sidecar));
        }
        for text in [None, Some(EMPTY_SIDECAR)] {
            fs::create_dir(&path).unwrap();
            let _ = text.map(|text| fs::write(&sidecar, text).unwrap());
            assert!(open().is_none() && path.is_dir());
            let _ = (fs::remove_dir(&path), fs::remove_file(&sidecar));
        }
        let mut part = PartFile::create(&path).unwrap();
        part.start(&url(), validator().as_ref(), None).unwrap();
        part.write(b"half").unwrap();
        let live = PartFile::open_replacement(&path, &dir.path().join("x"), &url());
        assert!(matches!(live, Err(Error::Locked { .. })), "{live:?}");
        assert_eq!(part.keep_for_resume(), 4);
        assert_eq!(open().unwrap().received(), 4);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed_and_devices_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, b"the user's").unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("x.part")).unwrap();
        let existing = open_in(dir.path());
        assert!(matches!(existing, Err(Error::NotAFile(_))), "{existing:?}");
        assert_eq!(fs::read(&elsewhere).unwrap(), b"the user's");

        fs::remove_file(dir.path().join("x.part")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(dir.path().join("x.part")).status().unwrap().success());
        let existing = open_in(dir.path());
        assert!(matches!(existing, Err(Error::NotAFile(_))), "{existing:?}");
    }
}
