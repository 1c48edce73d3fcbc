//! The part file once it is open: written to, and in the end renamed to its target, kept for a later attempt, or removed.
//! Before each of these, and before it is cut, the sidecar on the disk must still name this process as the owner.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::move_aside::Moved;
use super::platform::Renamed;
use super::ranges::Ranges;
use super::shared_part::{SegmentWriter, SharedPart};
use super::sidecar::Sidecar;
use super::sidecar_file::Found;
use super::{disk, host, platform, sidecar_file};
use crate::error::Error;
use crate::http::Validator;
use crate::url::WebUrl;

/// `NAME.part`, open for writing and locked, so that no other process writes to it. Its sidecar is there before its
/// first byte: a file without one is not ours.
#[derive(Debug)]
pub struct PartFile {
    pub(super) shared: Arc<SharedPart>,
    pub(super) is_locked: bool,
    /// Whether it was empty and without a sidecar of tdl's when it was opened.
    pub(super) is_new: bool,
    was_renamed_after_a_look: AtomicBool,
}

/// For less no room is looked for beforehand.
const LOOK_FROM: u64 = 64 * 1024;

/// How a part file becomes its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// In place of whatever file has the name.
    Replace,
    /// Only if nothing has the name.
    Keep,
}

impl PartFile {
    pub(super) fn new(path: PathBuf, file: File, is_locked: bool, is_new: bool, moved: Arc<Moved>) -> Self {
        let shared = Arc::new(SharedPart::new(path, file, moved));
        Self { shared, is_locked, is_new, was_renamed_after_a_look: AtomicBool::new(false) }
    }

    /// Whether the path still names this file.
    pub(super) fn is_in_place(&self, meta: &fs::Metadata) -> Result<bool, Error> {
        let SharedPart { file, path, .. } = &*self.shared;
        platform::is_at(file, meta, path).map_err(|source| disk("look at", path, source))
    }

    /// What is known of the file, where it can be gone on with.
    #[must_use]
    pub fn sidecar(&self) -> Option<Sidecar> {
        self.shared.sidecar()
    }

    /// Notes for later runs how many requests in a row for the rest have failed or were answered by something else; none
    /// once more of it has come.
    pub fn note_failed_resumes(&self, failed: u32, unusable: u32) {
        self.shared.note_failed_resumes(failed, unusable);
    }

    /// The file as the threads see it that fill it.
    #[must_use]
    pub const fn shared(&self) -> &Arc<SharedPart> {
        &self.shared
    }

    pub(super) fn path(&self) -> &Path {
        &self.shared.path
    }

    /// How many bytes are in the file.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.shared.received()
    }

    /// Whether every byte is in the file.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.shared.is_whole()
    }

    /// The first bytes that are missing: from a place up to another, or to the end of the file.
    #[must_use]
    pub fn gap(&self) -> Option<(u64, Option<u64>)> {
        self.shared.gap()
    }

    /// Takes the first bytes that are missing and that no thread fills.
    #[must_use]
    pub fn take(&self) -> Option<SegmentWriter> {
        self.shared.take()
    }

    /// Waits until a thread that fills some of the file leaves it, for so long at most.
    pub fn wait(&self, longest: Duration) {
        self.shared.wait(longest);
    }

    /// Whether no thread fills any of the file; if so, none begins to.
    #[must_use]
    pub fn close_if_idle(&self) -> bool {
        self.shared.close_if_idle()
    }

    /// Ends the filling, and waits for the threads that are at it; what has arrived is claimed before.
    pub fn stop(&self) {
        if !self.close_if_idle() {
            let _ = self.shared.save();
            self.shared.stop();
        }
    }

    /// What was moved aside for the file and its sidecar since this was asked last, as sentences for the user.
    #[must_use]
    pub fn take_moved(&self) -> Vec<String> {
        self.shared.moved.take()
    }

    /// Whether the file system could lock the file.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// Whether the lock alone proves that no other process writes to the file.
    pub(super) const fn lock_is_proof(&self) -> bool {
        self.is_locked && platform::LOCKS_ARE_PROOF
    }

    /// Begins a new, empty file: creates its sidecar, which claims nothing yet. With a validator, what arrives can be
    /// resumed later.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] or [`Error::PartGone`] if another process was faster; or the sidecar cannot be written.
    pub fn start(&mut self, url: &WebUrl, validator: Option<&Validator>, length: Option<u64>) -> Result<(), Error> {
        let sidecar = Sidecar::new(url, validator.cloned(), length).owned_by(Some(host::new_owner()));
        sidecar_file::claim(self.path(), &sidecar, self.lock_is_proof(), &self.shared.moved)?;
        if let Err(failure) = self.check_new() {
            sidecar_file::remove(self.path());
            return Err(failure);
        }
        self.shared.begin(Some(sidecar), Ranges::default(), length);
        Ok(())
    }

    /// Checks that the file is as it was made. Before it was claimed, another process that had opened it as well may
    /// have filled it, given it its final name and removed its own claim: a write would go into the finished file.
    fn check_new(&self) -> Result<(), Error> {
        let meta = self.shared.file.metadata().map_err(|source| disk("look at", self.path(), source))?;
        let is_new = meta.len() == 0 && platform::has_one_name(&meta) && self.is_in_place(&meta)?;
        if is_new { Ok(()) } else { Err(Error::PartGone(self.path().to_owned())) }
    }

    /// Goes on with what is there of a file that is so long; bytes that were never claimed go.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] if there is more than that; [`Error::Locked`] or [`Error::PartChanged`] if another process
    /// has taken the file over or cut it; or the file cannot be cut.
    pub fn resume(&mut self, length: u64) -> Result<(), Error> {
        let arrived = self.shared.arrived();
        let end = arrived.end();
        if end > length {
            return Err(Error::Range("the file is shorter than what is there"));
        }
        self.shared.check_held()?;
        self.shared.check_end()?;
        self.shared.begin(None, arrived, Some(length));
        self.shared.cut(end)
    }

    /// Writes the first bytes of those that are missing.
    ///
    /// # Errors
    ///
    /// The disk is full, or failing.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.take().map_or(Ok(()), |writer| writer.write(bytes))
    }

    /// Makes sure that there is room for the rest of a file of this length, and keeps it where the platform can, so
    /// that a file that does not fit fails at once and takes no room from those that do. The file has this length then.
    ///
    /// # Errors
    ///
    /// [`Error::NoRoom`].
    pub fn reserve(&self, length: u64) -> Result<(), Error> {
        let needed = length.saturating_sub(self.received());
        if needed == 0 {
            return Ok(());
        }
        let no_room = |free| Error::NoRoom { path: self.path().to_owned(), needed, free };
        let is_large = needed >= LOOK_FROM;
        let free = if is_large { platform::free_space(self.path()) } else { None };
        if let Some(free) = free.filter(|free| *free < needed) {
            return Err(no_room(free));
        }
        match self.shared.preallocate(length) {
            Err(error)
                if is_large && matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                Err(no_room(free.unwrap_or_default()))
            }
            // A file system that cannot is no reason to fail.
            _ => Ok(()),
        }
    }

    /// Puts the file's bytes onto the disk.
    ///
    /// # Errors
    ///
    /// The disk is full, or failing, or was when the bytes were put onto it before.
    pub fn sync(&self) -> Result<(), Error> {
        self.shared.sync()
    }

    /// Gives the file the time that the server named; a file system without such a time is no reason to fail.
    pub fn set_modified(&self, time: SystemTime) {
        let _ = self.shared.file.set_modified(time);
    }

    /// Gives the file its final name by one rename, still locked, and then removes the sidecar. Says whether it was
    /// done; it is not if the name is taken and what has it is to be kept.
    ///
    /// # Errors
    ///
    /// The rename was refused, or another process has taken the part file away, taken it over or changed it; or bytes
    /// could not be put onto the disk.
    pub fn commit(&self, target: &Path, commit: Commit) -> Result<bool, Error> {
        self.shared.stop_checkpoints();
        self.shared.check_damage()?;
        self.shared.check_held()?;
        let meta = self.shared.file.metadata().map_err(|source| disk("look at", self.path(), source))?;
        self.shared.check_length(meta.len())?;
        if !self.is_in_place(&meta)? {
            return Err(Error::PartGone(self.path().to_owned()));
        }
        let renamed = match commit {
            Commit::Replace => fs::rename(self.path(), target).map(|()| Renamed::Exclusively),
            Commit::Keep => platform::rename_no_replace(self.path(), target),
        };
        match renamed {
            Ok(renamed) => {
                // Between the look and the rename another process may have cut the file, or put another in its place.
                self.check_at(target).inspect_err(|_| _ = platform::rename_no_replace(target, self.path()))?;
                sidecar_file::remove(self.path());
                self.shared.forget();
                self.was_renamed_after_a_look.store(renamed == Renamed::AfterALook, Ordering::Relaxed);
                Ok(true)
            }
            Err(error) if commit == Commit::Keep && error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(source) => Err(disk("rename the part file to", target, source)),
        }
    }

    /// Checks that what is at `target` is this file, and whole.
    fn check_at(&self, target: &Path) -> Result<(), Error> {
        let refused = |source| disk("look at", target, source);
        // Looked at anew, for a file may get another number by a rename (FUSE).
        let meta = self.shared.file.metadata().map_err(refused)?;
        self.shared.check_length(meta.len())?;
        let is_at = platform::is_at(&self.shared.file, &meta, target).map_err(refused)?;
        // If nothing is there, it was this file, and somebody has moved it since.
        if is_at || target.symlink_metadata().is_err() { Ok(()) } else { Err(Error::PartGone(self.path().to_owned())) }
    }

    /// Whether the commit could not rule out that it replaced a file that had just appeared: the file system has neither a
    /// rename that does not replace nor hard links.
    #[must_use]
    pub fn was_renamed_after_a_look(&self) -> bool {
        self.was_renamed_after_a_look.load(Ordering::Relaxed)
    }

    /// Leaves the file for a later attempt, with a sidecar that claims what is there and names no owner; removes what
    /// could not be resumed. Returns how many bytes are kept: 0 if the file was removed or belongs to another process.
    pub fn keep_for_resume(self) -> u64 {
        self.shared.stop_checkpoints();
        let claimed = || self.shared.sidecar().map_or(0, |sidecar| sidecar.done.count());
        let checked = self.shared.check_held().and_then(|()| self.shared.check_end());
        // Whether it is still this process's cannot be told now, so nothing is removed.
        if let Err(Error::Disk { .. }) = checked {
            return claimed();
        }
        if checked.is_ok() && self.shared.is_resumable() {
            // Room that was kept for the rest is given back; a full disk needs it for the sidecar.
            let _ = self.shared.cut(self.shared.arrived().end());
            if self.shared.save().is_ok() && self.shared.sidecar().is_some_and(|sidecar| sidecar.done.end() > 0) {
                let claimed = claimed();
                // If that cannot be written, the sidecar names this process, and is free once it has ended.
                return self.shared.release().unwrap_or(claimed);
            }
        }
        self.discard();
        0
    }

    /// Removes the file and its sidecar, if they are still this one's.
    pub fn discard(self) {
        self.remove();
    }

    fn remove(&self) {
        self.shared.stop_checkpoints();
        let Some(owns_sidecar) = self.removable() else { return };
        let meta = self.shared.file.metadata();
        if meta.is_ok_and(|meta| self.is_in_place(&meta).unwrap_or(false)) {
            let _ = fs::remove_file(self.path());
        }
        // The sidecar last: a part file without one would not be ours.
        if owns_sidecar {
            sidecar_file::remove(self.path());
        }
        self.shared.forget();
    }

    /// Whether the file may be removed, because it is this process's or its owner is dead; and if so, whether its
    /// sidecar may be removed as well.
    fn removable(&self) -> Option<bool> {
        if self.shared.is_claimed() {
            return self.shared.is_held().then_some(true);
        }
        match sidecar_file::look(self.path()) {
            Ok(Found::Foreign(_)) => Some(false),
            // Another process may be about to take it over: this one must be faster.
            Ok(Found::Ours(_) | Found::Nothing) => {
                let sidecar = Sidecar::unclaimed().owned_by(Some(host::new_owner()));
                let claimed = sidecar_file::claim(self.path(), &sidecar, self.lock_is_proof(), &self.shared.moved);
                // On a full disk, a lock must do.
                (claimed.is_ok() || (self.is_locked && !matches!(claimed, Err(Error::Locked { .. })))).then_some(true)
            }
            Err(_) => None,
        }
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // Nobody writes to a file that another process may lock.
        self.shared.stop();
        self.shared.stop_checkpoints();
        if self.shared.is_claimed() && self.shared.release().is_err_and(|error| matches!(error, Error::PartChanged(_)))
        {
            self.remove();
        }
        // The keeper may hold the file for a moment longer, and nobody is to find it locked.
        let _ = self.shared.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::{Existing, TargetState, target_state};
    use super::*;
    use crate::http::EntityHeaders;

    fn url() -> WebUrl {
        WebUrl::parse("http://h/x").unwrap()
    }

    const OURS: &str = r#"{"version":1,"url":"http://h/x","validator":null,"length":null,"done":[]}"#;

    fn validator() -> Option<Validator> {
        let effective_url = "http://h/x".to_owned();
        Validator::of(EntityHeaders { etag: Some("\"a\"".to_owned()), effective_url, ..EntityHeaders::default() }, None)
    }

    fn part_in(dir: &Path, bytes: &[u8]) -> PartFile {
        let mut part = match leftover_in(dir).unwrap().part {
            Some(part) => part.renew().unwrap(),
            None => PartFile::create(&dir.join("x.part")).unwrap(),
        };
        part.start(&url(), validator().as_ref(), None).unwrap();
        part.write(bytes).unwrap();
        part
    }

    fn leftover_in(dir: &Path) -> Result<Existing, Error> {
        PartFile::open_existing(&dir.join("x.part"), &dir.join("x"), &url())
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
        assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
        let third = PartFile::create(&dir.path().join("x.part"));
        assert!(matches!(third, Err(Error::Locked { .. })), "{third:?}");
        part.commit(&dir.path().join("x"), Commit::Keep).unwrap();
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"mine");
    }

    #[cfg(unix)]
    #[test]
    fn a_part_that_was_taken_away_is_not_mistaken_for_another() {
        let dir = tempfile::tempdir().unwrap();
        let first = part_in(dir.path(), b"first");
        fs::remove_file(dir.path().join("x.part")).unwrap();
        let gone = first.commit(&dir.path().join("x"), Commit::Keep);
        assert!(matches!(gone, Err(Error::PartGone(_))), "{gone:?}");
        // Its sidecar goes as well, and what has its name now stays.
        fs::write(dir.path().join("x.part"), "the user's").unwrap();
        first.discard();
        assert_eq!(names(dir.path()), ["x.part"]);
        assert_eq!(fs::read(dir.path().join("x.part")).unwrap(), b"the user's");
    }

    fn change(dir: &Path, change: impl FnOnce(File)) {
        change(fs::OpenOptions::new().write(true).open(dir.join("x.part")).unwrap());
    }

    #[test]
    fn a_part_that_another_process_cut_or_extended_is_not_committed() {
        let cut = |dir: &Path| change(dir, |file| file.set_len(2).unwrap());
        let extend = |dir: &Path| change(dir, |file| file.set_len(6).unwrap());
        for intrude in [&cut as &dyn Fn(&Path), &extend] {
            let dir = tempfile::tempdir().unwrap();
            let part = part_in(dir.path(), b"whole");
            intrude(dir.path());
            let changed = part.commit(&dir.path().join("x"), Commit::Keep);
            assert!(matches!(&changed, Err(failure @ Error::PartChanged(_)) if failure.is_temporary()), "{changed:?}");
            part.discard();
            assert!(names(dir.path()).is_empty());
        }
    }

    #[test]
    fn a_part_that_was_cut_is_removed_when_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let mut part = part_in(dir.path(), b"half");
        change(dir.path(), |file| file.set_len(3).unwrap());
        assert!(part.resume(13).is_err());
        drop(part);
        assert!(names(dir.path()).is_empty(), "the next attempt would have to wait for it");
    }

    #[test]
    fn a_part_that_was_cut_is_not_written_to_and_not_kept() {
        let check = |after: &dyn Fn(&mut PartFile) -> Result<(), Error>| {
            let dir = tempfile::tempdir().unwrap();
            let mut part = part_in(dir.path(), b"half");
            change(dir.path(), |file| file.set_len(0).unwrap());
            let changed = after(&mut part);
            assert!(matches!(changed, Err(Error::PartChanged(_))), "{changed:?}");
            assert_eq!(part.keep_for_resume(), 0);
            assert!(names(dir.path()).is_empty());
        };
        check(&|part| part.write(b" and rest"));
        check(&|part| part.shared.save());
        check(&|part| part.resume(13));
        check(&|part| {
            // As long as it was, but with zeros in it.
            part.write(b" and rest").unwrap_err();
            part.shared.file.set_len(4).unwrap();
            part.write(b" and rest")
        });
    }

    /// Between the look at a file's length and the write that follows it, the file is cut; the write then makes it as
    /// long as the look found it, or longer.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_cut_that_a_write_undoes_is_seen() {
        let check = |after: &dyn Fn(&mut PartFile) -> Result<(), Error>| {
            let dir = tempfile::tempdir().unwrap();
            let mut part = PartFile::create(&dir.path().join("x.part")).unwrap();
            part.start(&url(), validator().as_ref(), Some(20)).unwrap();
            part.reserve(20).unwrap();
            if part.shared.file.metadata().unwrap().len() != 20 {
                // This file system cannot.
                return;
            }
            part.write(b"half").unwrap();
            change(dir.path(), |file| {
                file.set_len(0).unwrap();
                platform::write_at(&file, b" and rest", 4).unwrap();
            });
            let changed = after(&mut part);
            assert!(matches!(changed, Err(Error::PartChanged(_))), "{changed:?}");
            assert_eq!(part.keep_for_resume(), 0);
            assert!(names(dir.path()).is_empty());
        };
        check(&|part| part.write(b" and rest"));
        check(&|part| part.shared.save());
        check(&|part| part.resume(20));
        check(&|part| part.commit(&part.path().with_file_name("x"), Commit::Keep).map(drop));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_was_reserved_is_cut_when_a_part_is_kept_and_ignored_after_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let mut part = PartFile::create(&dir.path().join("x.part")).unwrap();
        part.start(&url(), validator().as_ref(), Some(13)).unwrap();
        part.reserve(13).unwrap();
        part.write(b"half").unwrap();
        assert_eq!(part.keep_for_resume(), 4);
        assert_eq!(fs::read(dir.path().join("x.part")).unwrap(), b"half");
        // As after a kill.
        change(dir.path(), |file| file.set_len(13).unwrap());
        let mut part = leftover_in(dir.path()).unwrap().part.unwrap();
        assert_eq!((part.received(), part.gap()), (4, Some((4, None))));
        part.resume(13).unwrap();
        part.reserve(13).unwrap();
        part.write(b" and rest").unwrap();
        assert!(part.commit(&dir.path().join("x"), Commit::Keep).unwrap());
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"half and rest");
    }

    /// As on a file system whose locks do not reach this process.
    #[cfg(unix)]
    fn without_lock(part: PartFile) -> PartFile {
        part.shared.file.unlock().unwrap();
        part
    }

    fn sidecar_of(dir: &Path) -> PathBuf {
        dir.join("x.part.json")
    }

    /// As if the file had been written this many seconds ago.
    fn make_older(path: &Path, seconds: u64) {
        let time = SystemTime::now() - Duration::from_secs(seconds);
        fs::OpenOptions::new().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn where_locks_do_not_hold_a_live_owner_is_not_disturbed() {
        let dir = tempfile::tempdir().unwrap();
        let first = without_lock(part_in(dir.path(), b"whole"));
        make_older(&sidecar_of(dir.path()), 50);
        for second in [leftover_in(dir.path()).map(drop), PartFile::create(&dir.path().join("x.part")).map(drop)] {
            assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
        }
        assert!(first.commit(&dir.path().join("x"), Commit::Keep).unwrap());
        assert_eq!((names(dir.path()), fs::read(dir.path().join("x")).unwrap()), (vec!["x".into()], b"whole".into()));
    }

    #[cfg(unix)]
    #[test]
    fn an_owner_that_was_silent_for_a_minute_loses_the_part_and_touches_nothing_more() {
        for end in ["commit", "keep", "discard", "drop", "resume"] {
            let dir = tempfile::tempdir().unwrap();
            let mut first = without_lock(part_in(dir.path(), b"half"));
            first.shared.save().unwrap();
            make_older(&sidecar_of(dir.path()), 61);
            let mut second = leftover_in(dir.path()).unwrap().part.unwrap();
            assert_eq!(second.received(), 4);
            second.resume(13).unwrap();
            let lost = match end {
                "commit" => first.commit(&dir.path().join("x"), Commit::Keep).map(drop),
                "resume" => first.resume(4),
                _ => first.shared.check_held(),
            };
            assert!(matches!(lost, Err(Error::Locked { .. })), "{lost:?}");
            assert!(first.write(b"?").is_err(), "once it knows, it writes nothing");
            match end {
                "keep" => assert_eq!(first.keep_for_resume(), 0),
                "discard" => first.discard(),
                _ => drop(first),
            }
            second.write(b" and rest").unwrap();
            assert!(second.commit(&dir.path().join("x"), Commit::Keep).unwrap());
            assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"half and rest");
            assert_eq!(names(dir.path()), ["x"], "{end}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_owner_that_is_dead_loses_the_part_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let part = part_in(dir.path(), b"half");
        part.shared.save().unwrap();
        let mut dead = std::process::Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        let sidecar = part.sidecar().unwrap();
        let owner = super::super::owner::Owner { process: dead.id(), ..sidecar.owner.clone().unwrap() };
        sidecar_file::save(part.path(), &sidecar.owned_by(Some(owner)), &part.shared.moved).unwrap();
        drop(part);
        assert_eq!(leftover_in(dir.path()).unwrap().part.unwrap().received(), 4);
    }

    #[cfg(unix)]
    #[test]
    fn of_two_that_open_an_empty_part_one_begins() {
        for first_begins in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let mut first = without_lock(PartFile::create(&dir.path().join("x.part")).unwrap());
            let mut second = leftover_in(dir.path()).unwrap().part.unwrap().renew().unwrap();
            let (winner, loser) = if first_begins { (&mut first, second) } else { (&mut second, first) };
            let mut loser = loser;
            winner.start(&url(), validator().as_ref(), None).unwrap();
            winner.write(b"whole").unwrap();
            let late = loser.start(&url(), validator().as_ref(), None);
            assert!(matches!(late, Err(Error::Locked { .. })), "{late:?}");
            assert_eq!(loser.keep_for_resume(), 0);
            assert!(winner.commit(&dir.path().join("x"), Commit::Keep).unwrap());
            assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"whole");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_another_process_has_finished_is_not_begun_again() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        let mut first = without_lock(PartFile::create(&dir.path().join("x.part")).unwrap());
        let mut second = leftover_in(dir.path()).unwrap().part.unwrap().renew().unwrap();
        first.start(&url(), validator().as_ref(), None).unwrap();
        first.write(b"whole").unwrap();
        assert!(first.commit(&target, Commit::Keep).unwrap());
        let late = second.start(&url(), validator().as_ref(), None);
        assert!(matches!(late, Err(Error::PartGone(_))), "{late:?}");
        second.discard();
        assert_eq!((names(dir.path()), fs::read(&target).unwrap()), (vec!["x".into()], b"whole".into()));
    }

    #[test]
    fn a_sidecar_that_somebody_removed_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut part = part_in(dir.path(), b"half");
        for _ in 0..2 {
            fs::remove_file(sidecar_of(dir.path())).unwrap();
            part.shared.save().unwrap();
            part.write(b" and rest").unwrap();
        }
        fs::remove_file(sidecar_of(dir.path())).unwrap();
        assert!(part.commit(&dir.path().join("x"), Commit::Keep).unwrap());
        assert_eq!(names(dir.path()), ["x"]);
    }

    #[test]
    fn while_an_owner_lives_nothing_begins_beside_its_sidecar() {
        let dir = tempfile::tempdir().unwrap();
        let part = part_in(dir.path(), b"whole");
        // As in the middle of a commit.
        fs::rename(dir.path().join("x.part"), dir.path().join("elsewhere")).unwrap();
        let second = leftover_in(dir.path());
        assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
        drop(part);
    }

    #[test]
    fn a_part_that_is_dropped_is_free() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(part_in(dir.path(), b"half").keep_for_resume(), 4);
        // As when the request for the rest fails.
        for _ in 0..2 {
            drop(leftover_in(dir.path()).unwrap().part.unwrap());
        }
        let sidecar = fs::read_to_string(sidecar_of(dir.path())).unwrap();
        assert!(!sidecar.contains("owner"), "{sidecar}");
        assert_eq!(leftover_in(dir.path()).unwrap().part.unwrap().received(), 4);
    }

    #[test]
    fn a_new_file_takes_the_place_of_one_that_cannot_be_resumed() {
        use std::io::Read as _;

        let dir = tempfile::tempdir().unwrap();
        part_in(dir.path(), b"half").keep_for_resume();
        let mut slow = File::open(dir.path().join("x.part")).unwrap();
        let other = WebUrl::parse("http://h/other").unwrap();
        let left = PartFile::open_existing(&dir.path().join("x.part"), &dir.path().join("x"), &other).unwrap();
        assert!(left.part.unwrap().renew().unwrap().start(&other, None, None).is_ok());
        let mut text = String::new();
        slow.read_to_string(&mut text).unwrap();
        assert_eq!(text, "half", "what another process has open is not cut");
    }

    #[cfg(unix)]
    #[test]
    fn what_others_could_have_written_is_moved_aside() {
        use std::os::unix::fs::PermissionsExt as _;

        for name in ["x.part", "x.part.json"] {
            for (case, why) in
                [("mode", "may be written to by other users"), ("link", "has a second name, a hard link")]
            {
                let dir = tempfile::tempdir().unwrap();
                part_in(dir.path(), b"half").keep_for_resume();
                let path = dir.path().join(name);
                match case {
                    "mode" => fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap(),
                    _ => fs::hard_link(&path, dir.path().join("the user's")).unwrap(),
                }
                let left = leftover_in(dir.path()).unwrap();
                assert!(left.part.is_none() && left.discard_reason.as_ref().unwrap().contains(why), "{left:?}");
                let mut part = part_in(dir.path(), b"new");
                part.write(b"er").unwrap();
                part.shared.save().unwrap();
                part.commit(&dir.path().join("x"), Commit::Keep).unwrap();
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
            part_in(dir.path(), b"half").keep_for_resume();
            if std::os::unix::fs::chown(dir.path().join(name), Some(12_345), None).is_err() {
                // Only root can give a file away.
                return;
            }
            let left = leftover_in(dir.path()).unwrap();
            assert!(left.part.is_none() && left.discard_reason.unwrap().contains("belongs to another user"));
        }
    }

    #[test]
    fn what_is_put_by_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(part_in(dir.path(), b"half").keep_for_resume(), 4);
        // What came after the sidecar was saved is not claimed.
        let mut file = fs::OpenOptions::new().append(true).open(dir.path().join("x.part")).unwrap();
        file.write_all(b" and lost").unwrap();
        drop(file);
        let mut part = leftover_in(dir.path()).unwrap().part.unwrap();
        assert_eq!((part.received(), part.sidecar().unwrap().validator.clone()), (4, validator()));
        part.resume(13).unwrap();
        part.write(b" and rest").unwrap();
        assert!(part.commit(&dir.path().join("x"), Commit::Keep).unwrap());
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"half and rest");
        assert_eq!(names(dir.path()), ["x"]);
    }

    #[test]
    fn without_a_validator_nothing_is_put_by() {
        let dir = tempfile::tempdir().unwrap();
        let mut part = PartFile::create(&dir.path().join("x.part")).unwrap();
        part.start(&url(), None, None).unwrap();
        part.write(b"half").unwrap();
        assert_eq!(part.keep_for_resume(), 0);
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
            assert!(left.discard_reason.as_ref().unwrap().contains(why), "{left:?}");
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
        assert!(left.part.is_none() && left.discard_reason.unwrap().contains("is not tdl's"));
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
        let part = part_in(dir.path(), b"whole");
        // A checkpoint needs the other name as well.
        part.shared.save().unwrap();
        part.commit(&dir.path().join("x"), Commit::Keep).unwrap();
        assert_eq!(names(dir.path()), ["x", "x.part.json.kept", "x.part.tmp.kept"]);
        assert_eq!(fs::read(dir.path().join("x.part.json.kept")).unwrap(), b"the user's");
        assert_eq!(fs::read(dir.path().join("x.part.tmp.kept")).unwrap(), b"the user's too");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_users_file_whose_name_is_not_needed_stays() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["x.part", "x.part.tmp"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        part_in(dir.path(), b"whole").commit(&dir.path().join("x"), Commit::Keep).unwrap();
        assert_eq!(names(dir.path()), ["x", "x.part.tmp"]);
    }

    #[test]
    fn what_a_process_that_died_was_writing_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let text = Sidecar::new(&url(), validator(), None).text().unwrap();
        for (length, age, remains) in
            [(text.len(), 0, false), (30, 61, false), (30, 0, true), (0, 61, true), (5, 61, true)]
        {
            part_in(dir.path(), b"half").keep_for_resume();
            fs::write(dir.path().join("x.part.tmp"), &text[..length]).unwrap();
            make_older(&dir.path().join("x.part.tmp"), age);
            let left = leftover_in(dir.path());
            let kept = dir.path().join("x.part.tmp.kept");
            match (remains, age) {
                (true, 0) => assert!(matches!(left, Err(Error::Locked { .. })), "{left:?}"),
                _ => assert_eq!((left.unwrap().part.unwrap().received(), kept.exists()), (4, remains), "{length}"),
            }
            fs::remove_dir_all(dir.path()).unwrap();
            fs::create_dir(dir.path()).unwrap();
        }
    }

    #[test]
    fn of_what_lies_beside_only_tdls_own_is_taken_or_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.part.new");
        let beside = || PartFile::open_replacement(&path, &dir.path().join("x"), &url()).unwrap();
        let sidecar = dir.path().join("x.part.new.json");
        for (content, of_sidecar, remaining) in [
            (Some("the user's"), None, &["x.part.new"][..]),
            (Some(""), None, &["x.part.new"]),
            (Some("the user's"), Some("the user's too"), &["x.part.new", "x.part.new.json"]),
            (None, Some("the user's"), &["x.part.new.json"]),
            (None, Some(OURS), &[]),
            (Some("of no use"), Some(OURS), &[]),
            (Some(""), Some(OURS), &[]),
        ] {
            let _ = content.map(|content| fs::write(&path, content).unwrap());
            let _ = of_sidecar.map(|text| fs::write(&sidecar, text).unwrap());
            assert!(beside().is_none());
            assert_eq!(names(dir.path()), remaining, "{content:?} {of_sidecar:?}");
            let _ = (fs::remove_file(&path), fs::remove_file(&sidecar));
        }
        for text in [None, Some(OURS)] {
            fs::create_dir(&path).unwrap();
            let _ = text.map(|text| fs::write(&sidecar, text).unwrap());
            assert!(beside().is_none() && path.is_dir());
            let _ = (fs::remove_dir(&path), fs::remove_file(&sidecar));
        }
        let mut part = PartFile::create(&path).unwrap();
        part.start(&url(), validator().as_ref(), None).unwrap();
        part.write(b"half").unwrap();
        let live = PartFile::open_replacement(&path, &dir.path().join("x"), &url());
        assert!(matches!(live, Err(Error::Locked { .. })), "{live:?}");
        assert_eq!(part.keep_for_resume(), 4);
        assert_eq!(beside().unwrap().received(), 4);
    }

    #[cfg(unix)]
    #[test]
    fn no_link_is_followed_and_no_device_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, b"the user's").unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("x.part")).unwrap();
        let left = leftover_in(dir.path());
        assert!(matches!(left, Err(Error::NotAFile(_))), "{left:?}");
        assert_eq!(fs::read(&elsewhere).unwrap(), b"the user's");

        fs::remove_file(dir.path().join("x.part")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(dir.path().join("x.part")).status().unwrap().success());
        let left = leftover_in(dir.path());
        assert!(matches!(left, Err(Error::NotAFile(_))), "{left:?}");
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
        fs::write(dir.path().join("x.part.tmp"), OURS).unwrap();
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
        assert_eq!(target_state(&dir.path().join("none")).unwrap(), TargetState::Free);
        assert!(matches!(target_state(&dir.path().join("file")).unwrap(), TargetState::Occupied(Some(_))));
        assert_eq!(target_state(dir.path()).unwrap(), TargetState::NotAFile);
    }
}
