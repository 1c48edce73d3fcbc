//! The part file: opened, locked, judged, written to, and at last renamed to its target or put by for a later attempt.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::aside::move_aside;
use super::filling::{Filling, Share};
use super::platform::Renamed;
use super::ranges::Ranges;
use super::sidecar::{self, Sidecar, Unusable};
use super::{disk, platform};
use crate::error::Failure;
use crate::http::Validator;
use crate::text::safe_path;
use crate::url::WebUrl;

/// `NAME.part`, open for writing and locked, so that no other process writes to it. Its sidecar is there before its
/// first byte: a file without one is not ours.
#[derive(Debug)]
pub struct PartFile {
    filling: Arc<Filling>,
    is_locked: bool,
    /// Whether nothing but tdl's own has, or could have, the names of its sidecar.
    owns_sidecar: bool,
    was_renamed_after_a_look: AtomicBool,
}

/// For less no room is looked for beforehand.
const RESERVED_FROM: u64 = 64 * 1024;

/// How a part file becomes its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// In place of whatever file has the name.
    Replace,
    /// Only if nothing has the name.
    Keep,
}

/// What was found at a part file's path.
#[derive(Debug, Default)]
pub struct Leftover {
    /// The part file of an earlier attempt or run, perhaps to be gone on with.
    pub part: Option<PartFile>,
    /// Why its bytes are not, for the user.
    pub why_not: Option<String>,
}

impl PartFile {
    /// Opens and locks what is at `path`, and judges what of it belongs to a download of `url` to `target`.
    /// A file that is not ours is moved aside, to `path` with `.kept`.
    ///
    /// # Errors
    ///
    /// [`Failure::Locked`] if another process holds it, [`Failure::NotAFile`] for links, directories and devices.
    pub fn leftover(path: &Path, target: &Path, url: &WebUrl) -> Result<Leftover, Failure> {
        let (mut part, meta) = loop {
            match Self::open(path, false) {
                Err(Failure::Disk { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    // One that a run left whose part file somebody took away.
                    Sidecar::remove_orphan(path);
                    return Ok(Leftover::default());
                }
                // A run that died between linking a part to its target and removing the part.
                Ok((_, meta)) if platform::is_link_to(&meta, target) => remove(path)?,
                opened => break opened?,
            }
        };
        let why_not = match Sidecar::read(path, url, meta.len()) {
            Ok(sidecar) if sidecar.validator.is_some() => {
                let (done, length) = (sidecar.done.clone(), sidecar.length);
                part.filling.begin(Some(sidecar), done, length);
                None
            }
            Err(_) if meta.len() == 0 => None,
            Ok(_) => Some("the server gave nothing that would prove the rest to be of the same file"),
            Err(Unusable::Broken) => Some("what was noted of the bytes that are left is damaged"),
            Err(Unusable::OtherUrl) => Some("the bytes that are left are of another URL"),
            Err(Unusable::Newer) => Some("a newer version of tdl left the bytes that are there"),
            Err(Unusable::NotOurs) => {
                let kept = move_aside(path, "is not tdl's")?;
                let why_not = format!("{} is not tdl's; it is {} now", safe_path(path), safe_path(&kept));
                return Ok(Leftover { part: None, why_not: Some(why_not) });
            }
        };
        // Beside an empty part file there may be anything.
        part.owns_sidecar = !Sidecar::is_foreign(path);
        if part.owns_sidecar {
            Sidecar::remove_unfinished(path);
        }
        Ok(Leftover { part: Some(part), why_not: why_not.map(ToOwned::to_owned) })
    }

    /// Makes and locks a file at `path`, where nothing is.
    ///
    /// # Errors
    ///
    /// [`Failure::Locked`] if another process made one meanwhile.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        match Self::open(path, true) {
            Err(Failure::Disk { source, path, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Err(Failure::Locked(path))
            }
            opened => opened.map(|(part, _)| part),
        }
    }

    fn open(path: &Path, create: bool) -> Result<(Self, fs::Metadata), Failure> {
        loop {
            let file = match platform::open_part(path, create) {
                Ok(file) => file,
                Err(error) if error.kind() != io::ErrorKind::NotFound && is_no_file(path) => {
                    return Err(Failure::NotAFile(path.to_owned()));
                }
                Err(source) => return Err(disk("open", path, source)),
            };
            let is_locked = lock(&file, path)?;
            // After the lock, for what another process wrote before it let go counts.
            let meta = file.metadata().map_err(|source| disk("look at", path, source))?;
            if !meta.is_file() {
                return Err(Failure::NotAFile(path.to_owned()));
            }
            let filling = Arc::new(Filling::new(path.to_owned(), file));
            let part =
                Self { filling, is_locked, owns_sidecar: false, was_renamed_after_a_look: AtomicBool::new(false) };
            // Between the opening and the lock another process may have renamed the file into place.
            if part.is_in_place(&meta)? {
                return Ok((part, meta));
            }
        }
    }

    /// Whether the path still names this file.
    fn is_in_place(&self, meta: &fs::Metadata) -> Result<bool, Failure> {
        let Filling { file, path, .. } = &*self.filling;
        platform::is_at(file, meta, path).map_err(|source| disk("look at", path, source))
    }

    /// What is known of the file, where it can be gone on with.
    #[must_use]
    pub fn sidecar(&self) -> Option<Sidecar> {
        self.filling.sidecar()
    }

    /// The file as the threads see it that fill it.
    #[must_use]
    pub const fn filling(&self) -> &Arc<Filling> {
        &self.filling
    }

    fn path(&self) -> &Path {
        &self.filling.path
    }

    /// How many bytes are in the file.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.filling.received()
    }

    /// Whether every byte is in the file.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.filling.is_whole()
    }

    /// The first bytes that are missing: from a place up to another, or to the end of the file.
    #[must_use]
    pub fn gap(&self) -> Option<(u64, Option<u64>)> {
        self.filling.gap()
    }

    /// Takes the first bytes that are missing and that no thread fills.
    #[must_use]
    pub fn take(&self) -> Option<Share> {
        self.filling.take()
    }

    /// Waits until a thread that fills some of the file leaves it, for so long at most.
    pub fn wait(&self, longest: Duration) {
        self.filling.wait(longest);
    }

    /// Whether no thread fills any of the file; if so, none begins to.
    #[must_use]
    pub fn end_if_idle(&self) -> bool {
        self.filling.end_if_idle()
    }

    /// Ends the filling, and waits for the threads that are at it; what has arrived is claimed before.
    pub fn stop(&self) {
        if !self.end_if_idle() {
            let _ = self.filling.save();
            self.filling.stop();
        }
    }

    /// Whether the file system could lock the file.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// Begins from nothing, with a sidecar that claims nothing. With a validator, what arrives can be gone on with
    /// later.
    ///
    /// # Errors
    ///
    /// The file cannot be emptied, or the sidecar not be written.
    pub fn start(&mut self, url: &WebUrl, validator: Option<&Validator>, length: Option<u64>) -> Result<(), Failure> {
        let refused = |source| disk("write the sidecar of", self.path(), source);
        let sidecar = Sidecar::new(url, validator.cloned(), length);
        // What an older sidecar says, of whichever download, it does not say of the bytes that come now; so the new one
        // is there, and where the older one claimed something is on the disk, before anything changes.
        let had_claim = self.received() > 0;
        if !self.owns_sidecar {
            for path in [sidecar::path(self.path()), sidecar::fresh_path(self.path())] {
                if path.symlink_metadata().is_ok() {
                    move_aside(&path, "is not tdl's")?;
                }
            }
        }
        sidecar.save(self.path(), had_claim).map_err(refused)?;
        if had_claim {
            let directory = self.path().parent().unwrap_or(Path::new("."));
            platform::sync_directory(directory).map_err(refused)?;
        }
        self.owns_sidecar = true;
        self.begin(Some(sidecar), Ranges::default(), length)
    }

    /// Goes on with what is there of a file that is so long; bytes that were never claimed go.
    ///
    /// # Errors
    ///
    /// [`Failure::Range`] if there is more than that; or the file cannot be cut.
    pub fn go_on(&mut self, length: u64) -> Result<(), Failure> {
        let arrived = self.filling.arrived();
        if arrived.end() > length {
            return Err(Failure::Range("the file is shorter than what is there"));
        }
        self.begin(None, arrived, Some(length))
    }

    fn begin(&self, sidecar: Option<Sidecar>, done: Ranges, length: Option<u64>) -> Result<(), Failure> {
        let end = done.end();
        self.filling.begin(sidecar, done, length);
        self.filling.file.set_len(end).map_err(|source| disk("cut", self.path(), source))
    }

    /// Writes the first bytes of those that are missing.
    ///
    /// # Errors
    ///
    /// The disk is full, or failing.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.take().map_or(Ok(()), |share| share.write(bytes))
    }

    /// Makes sure that there is room for the rest of a file of this length, and keeps it where the platform can, so
    /// that a file that does not fit fails at once and takes no room from those that do.
    ///
    /// # Errors
    ///
    /// [`Failure::NoRoom`].
    pub fn reserve(&self, length: u64) -> Result<(), Failure> {
        let needed = length.saturating_sub(self.received());
        if needed < RESERVED_FROM {
            return Ok(());
        }
        let no_room = |free| Failure::NoRoom { path: self.path().to_owned(), needed, free };
        match platform::free_space(self.path()) {
            Some(free) if free < needed => Err(no_room(free)),
            free => match platform::preallocate(&self.filling.file, length) {
                Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                    Err(no_room(free.unwrap_or_default()))
                }
                // A file system that cannot is no reason to fail.
                _ => Ok(()),
            },
        }
    }

    /// Puts the file's bytes onto the disk.
    ///
    /// # Errors
    ///
    /// The disk is full, or failing.
    pub fn sync(&self) -> Result<(), Failure> {
        self.filling.sync().map_err(|source| disk("write", self.path(), source))
    }

    /// Gives the file the time that the server named; a file system without such a time is no reason to fail.
    pub fn set_modified(&self, time: SystemTime) {
        let _ = self.filling.file.set_modified(time);
    }

    /// Gives the file its final name by one rename, still locked, and then removes the sidecar. Says whether it was
    /// done; it is not if the name is taken and what has it is to be kept.
    ///
    /// # Errors
    ///
    /// The rename was refused, or somebody took the part file away.
    pub fn commit(&self, target: &Path, commit: Commit) -> Result<bool, Failure> {
        self.filling.close_claim();
        let meta = self.filling.file.metadata().map_err(|source| disk("look at", self.path(), source))?;
        if !self.is_in_place(&meta)? {
            return Err(Failure::PartGone(self.path().to_owned()));
        }
        let renamed = match commit {
            Commit::Replace => fs::rename(self.path(), target).map(|()| Renamed::Exclusively),
            Commit::Keep => platform::rename_no_replace(self.path(), target),
        };
        match renamed {
            Ok(renamed) => {
                Sidecar::remove(self.path());
                self.was_renamed_after_a_look.store(renamed == Renamed::AfterALook, Ordering::Relaxed);
                Ok(true)
            }
            Err(error) if commit == Commit::Keep && error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(source) => Err(disk("rename the part file to", target, source)),
        }
    }

    /// Whether the commit could not rule out that it replaced a file that had just appeared: the file system has neither a
    /// rename that does not replace nor hard links.
    #[must_use]
    pub fn was_renamed_after_a_look(&self) -> bool {
        self.was_renamed_after_a_look.load(Ordering::Relaxed)
    }

    /// Leaves the file for a later attempt, with a sidecar that claims what is there; removes what could not be gone on
    /// with.
    pub fn put_by(self) {
        self.filling.close_claim();
        // Room that was kept for the rest is given back.
        let _ = self.filling.file.set_len(self.filling.arrived().end());
        if !self.filling.can_be_gone_on_with() || self.filling.save().is_err() {
            self.discard();
        }
    }

    /// Removes the file and its sidecar, if they are still this one's.
    pub fn discard(self) {
        self.filling.close_claim();
        let meta = self.filling.file.metadata();
        if meta.is_ok_and(|meta| self.is_in_place(&meta).unwrap_or(false)) {
            // The sidecar last: a part file without one would not be ours.
            let _ = fs::remove_file(self.path());
            Sidecar::remove(self.path());
        }
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // Nobody writes to a file that another process may lock.
        self.filling.stop();
        self.filling.close_claim();
        // The keeper may hold the file for a moment longer, and nobody is to find it locked.
        let _ = self.filling.file.unlock();
    }
}

fn remove(path: &Path) -> Result<(), Failure> {
    fs::remove_file(path).map_err(|source| disk("remove", path, source))
}

fn is_no_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| !meta.is_file())
}

/// Locks the file for this process; `Ok(false)` where the file system has no locks.
fn lock(file: &File, path: &Path) -> Result<bool, Failure> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(fs::TryLockError::WouldBlock) => Err(Failure::Locked(path.to_owned())),
        Err(fs::TryLockError::Error(error)) if platform::has_no_locks(&error) => Ok(false),
        Err(fs::TryLockError::Error(source)) => Err(disk("lock", path, source)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::{Place, place};
    use super::*;
    use crate::http::Marks;

    fn url() -> WebUrl {
        WebUrl::parse("http://h/x").unwrap()
    }

    #[cfg(unix)]
    const OURS: &str = r#"{"version":1,"url":"http://h/x","validator":null,"length":null,"done":[]}"#;

    fn validator() -> Option<Validator> {
        let place = "http://h/x".to_owned();
        Validator::of(Marks { etag: Some("\"a\"".to_owned()), place, ..Marks::default() }, None)
    }

    fn part_in(dir: &Path, bytes: &[u8]) -> PartFile {
        let mut part = match leftover_in(dir).unwrap().part {
            Some(part) => part,
            None => PartFile::create(&dir.join("x.part")).unwrap(),
        };
        part.start(&url(), validator().as_ref(), None).unwrap();
        part.write(bytes).unwrap();
        part
    }

    fn leftover_in(dir: &Path) -> Result<Leftover, Failure> {
        PartFile::leftover(&dir.join("x.part"), &dir.join("x"), &url())
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_commit_is_one_rename_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let part = part_in(dir.path(), b"whole");
        assert_eq!(names(dir.path()), ["x.part", "x.part.json"]);
        assert!(part.commit(&dir.path().join("x"), Commit::Keep).unwrap());
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"whole");
        assert_eq!(names(dir.path()), ["x"]);
    }

    #[test]
    fn a_file_that_appeared_meanwhile_is_kept_unless_it_is_to_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        let part = part_in(dir.path(), b"new");
        fs::write(&target, b"the user's").unwrap();
        assert!(!part.commit(&target, Commit::Keep).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"the user's");
        assert!(part.commit(&target, Commit::Replace).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn a_part_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let part = part_in(dir.path(), b"mine");
        let second = leftover_in(dir.path());
        assert!(matches!(second, Err(Failure::Locked(_))), "{second:?}");
        let third = PartFile::create(&dir.path().join("x.part"));
        assert!(matches!(third, Err(Failure::Locked(_))), "{third:?}");
        part.commit(&dir.path().join("x"), Commit::Keep).unwrap();
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"mine");
    }

    #[cfg(unix)]
    #[test]
    fn a_part_that_was_taken_away_is_not_mistaken_for_another() {
        let dir = tempfile::tempdir().unwrap();
        let first = part_in(dir.path(), b"first");
        fs::remove_file(dir.path().join("x.part")).unwrap();
        let second = part_in(dir.path(), b"half of the sec");
        let gone = first.commit(&dir.path().join("x"), Commit::Keep);
        assert!(matches!(gone, Err(Failure::PartGone(_))), "{gone:?}");
        first.discard();
        assert!(second.commit(&dir.path().join("x"), Commit::Keep).unwrap());
    }

    #[test]
    fn what_is_put_by_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        part_in(dir.path(), b"half").put_by();
        // What came after the sidecar was saved is not claimed.
        let mut file = fs::OpenOptions::new().append(true).open(dir.path().join("x.part")).unwrap();
        file.write_all(b" and lost").unwrap();
        drop(file);
        let mut part = leftover_in(dir.path()).unwrap().part.unwrap();
        assert_eq!((part.received(), part.sidecar().unwrap().validator.clone()), (4, validator()));
        part.go_on(13).unwrap();
        part.write(b" and rest").unwrap();
        assert!(part.commit(&dir.path().join("x"), Commit::Keep).unwrap());
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"half and rest");
        assert_eq!(names(dir.path()), ["x"]);
    }

    #[test]
    fn without_a_validator_nothing_is_put_by() {
        let dir = tempfile::tempdir().unwrap();
        let mut part = part_in(dir.path(), b"");
        part.start(&url(), None, None).unwrap();
        part.write(b"half").unwrap();
        part.put_by();
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn what_cannot_be_gone_on_with_is_started_over_and_says_why() {
        for (sidecar, why) in [
            (r#"{"version":1,"url":"http://h/x"}"#, "damaged"),
            (r#"{"version":7,"url":"?"}"#, "a newer version of tdl"),
            (r#"{"version":1,"url":"http://h/y","validator":null,"length":null,"done":[]}"#, "of another URL"),
            (
                r#"{"version":1,"url":"http://h/x","validator":null,"length":null,"done":[]}"#,
                "gave nothing that would prove",
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("x.part"), b"something much longer").unwrap();
            fs::write(dir.path().join("x.part.json"), sidecar).unwrap();
            let left = leftover_in(dir.path()).unwrap();
            assert!(left.why_not.as_ref().unwrap().contains(why), "{left:?}");
            assert_eq!(left.part.as_ref().unwrap().received(), 0);
            drop(left);
            assert!(part_in(dir.path(), b"new").commit(&dir.path().join("x"), Commit::Keep).unwrap());
            assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"new");
            assert_eq!(names(dir.path()), ["x"]);
        }
    }

    #[test]
    fn a_file_that_is_not_ours_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.part"), "the user's").unwrap();
        let left = leftover_in(dir.path()).unwrap();
        assert!(left.part.is_none() && left.why_not.unwrap().contains("is not tdl's"));
        assert_eq!(names(dir.path()), ["x.part.kept"]);
        assert_eq!(fs::read(dir.path().join("x.part.kept")).unwrap(), b"the user's");
    }

    #[test]
    fn a_file_with_a_sidecars_name_that_is_none_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.part.json"), "the user's").unwrap();
        assert!(leftover_in(dir.path()).unwrap().part.is_none());
        part_in(dir.path(), b"whole").commit(&dir.path().join("x"), Commit::Keep).unwrap();
        assert_eq!(names(dir.path()), ["x", "x.part.json.kept"]);
        assert_eq!(fs::read(dir.path().join("x.part.json.kept")).unwrap(), b"the user's");
    }

    #[test]
    fn an_empty_part_beside_a_foreign_sidecar_does_not_make_that_ours() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.part"), "").unwrap();
        fs::write(dir.path().join("x.part.json"), "the user's").unwrap();
        fs::write(dir.path().join("x.part.tmp"), "the user's too").unwrap();
        part_in(dir.path(), b"whole").commit(&dir.path().join("x"), Commit::Keep).unwrap();
        assert_eq!(names(dir.path()), ["x", "x.part.json.kept", "x.part.tmp.kept"]);
        assert_eq!(fs::read(dir.path().join("x.part.json.kept")).unwrap(), b"the user's");
    }

    #[cfg(unix)]
    #[test]
    fn no_link_is_followed_and_no_device_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, b"the user's").unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("x.part")).unwrap();
        let left = leftover_in(dir.path());
        assert!(matches!(left, Err(Failure::NotAFile(_))), "{left:?}");
        assert_eq!(fs::read(&elsewhere).unwrap(), b"the user's");

        fs::remove_file(dir.path().join("x.part")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(dir.path().join("x.part")).status().unwrap().success());
        let left = leftover_in(dir.path());
        assert!(matches!(left, Err(Failure::NotAFile(_))), "{left:?}");
    }

    #[cfg(unix)]
    #[test]
    fn orphans_of_a_run_that_died_at_its_commit_are_removed() {
        use super::super::remove_orphans;

        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        let link = || {
            fs::write(&target, b"whole").unwrap();
            fs::hard_link(&target, dir.path().join("x.part")).unwrap();
            fs::write(dir.path().join("x.part.json"), OURS).unwrap();
        };
        link();
        assert!(leftover_in(dir.path()).unwrap().part.is_none());
        fs::remove_file(&target).unwrap();
        link();
        remove_orphans(&dir.path().join("x.part"), &target);
        assert_eq!(names(dir.path()), ["x"]);
        assert_eq!(fs::read(&target).unwrap(), b"whole");

        fs::write(dir.path().join("x.part.json"), OURS).unwrap();
        fs::write(dir.path().join("x.part.tmp"), "{").unwrap();
        remove_orphans(&dir.path().join("x.part"), &target);
        assert_eq!(names(dir.path()), ["x"]);

        fs::write(dir.path().join("x.part"), "of its own").unwrap();
        remove_orphans(&dir.path().join("x.part"), &target);
        assert_eq!(names(dir.path()), ["x", "x.part"]);
    }

    #[test]
    fn a_place_is_free_taken_or_no_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"").unwrap();
        assert_eq!(place(&dir.path().join("none")).unwrap(), Place::Free);
        assert!(matches!(place(&dir.path().join("file")).unwrap(), Place::Taken(Some(_))));
        assert_eq!(place(dir.path()).unwrap(), Place::NotAFile);
    }
}
