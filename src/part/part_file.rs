//! The part file while it is open: starting or resuming a download in it, and writing. Opening, committing, keeping and
//! removing it are in separate files.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::errors::disk_error;
use super::move_aside::MoveLog;
use super::owner::LockScope;
use super::paths::directory_of;
use super::process::new_owner;
use super::ranges::Ranges;
use super::shared_part::SharedPart;
use super::sidecar::Sidecar;
use super::source_mark::mark_source;
use super::{digest, platform, sidecar_file};
use crate::digest::Digest;
use crate::error::Error;
use crate::http::Validator;
use crate::url::{SourceId, WebUrl};

/// `NAME.part`, open for writing and locked, so that no other process writes to it. Its sidecar exists before its
/// first byte: a part file without one is not tdl's.
///
/// Before it is renamed, truncated or removed, the sidecar on disk must still name this process as the owner.
#[derive(Debug)]
pub struct PartFile {
    pub(super) shared: Arc<SharedPart>,
    pub(super) is_locked: bool,
    /// Whether it was empty and without a sidecar made by tdl when it was opened.
    pub(super) is_new: bool,
    pub(super) renamed_non_atomically: AtomicBool,
}

/// Anything smaller is written without checking the free space.
const MIN_CHECKED_SPACE: u64 = 64 * 1024;

impl PartFile {
    pub(super) fn new(path: PathBuf, file: File, is_locked: bool, is_new: bool, moved: Arc<MoveLog>) -> Self {
        let shared = Arc::new(SharedPart::new(path, file, moved));
        Self { shared, is_locked, is_new, renamed_non_atomically: AtomicBool::new(false) }
    }

    /// Starts a new download in the empty file: creates its sidecar, which records no bytes yet. With a validator, the
    /// download can be resumed later.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] or [`Error::PartGone`] if another process was first, or [`Error::Disk`] if the sidecar cannot
    /// be written.
    pub fn start(&mut self, url: &WebUrl, validator: Option<&Validator>, length: Option<u64>) -> Result<(), Error> {
        let sidecar = Sidecar::new(url, validator.cloned(), length).owned_by(Some(new_owner()));
        sidecar_file::claim(self.path(), &sidecar, self.lock_scope(), &self.shared.moved)?;
        if let Err(failure) = self.check_untouched() {
            sidecar_file::remove_sidecar(self.path());
            return Err(failure);
        }
        self.shared.start_writing(Some(sidecar), Ranges::default(), length);
        Ok(())
    }

    /// Checks that the file is as it was created. Before this process claimed it, another one may have opened it too,
    /// filled it, committed it and removed its own claim. A write would then go into the finished file.
    fn check_untouched(&self) -> Result<(), Error> {
        let meta = self.shared.file.metadata()?;
        let is_untouched =
            meta.len() == 0 && platform::has_single_link(&meta) && self.shared.file.is_in_place(&meta)?;
        if is_untouched { Ok(()) } else { Err(Error::PartGone(self.path().to_owned())) }
    }

    /// Resumes the download of a file of this length. Bytes beyond those that the sidecar records are cut off.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] if the part file is longer than that; [`Error::Locked`] or [`Error::PartChanged`] if another
    /// process has taken it over or changed it; or [`Error::Disk`] if it cannot be truncated.
    pub fn resume(&mut self, length: u64) -> Result<(), Error> {
        let written = self.shared.written_ranges();
        let end = written.end();
        if end > length {
            return Err(Error::Range("the file is shorter than the part file"));
        }
        self.shared.check_owned()?;
        self.shared.file.check_not_truncated()?;
        self.shared.start_writing(None, written, Some(length));
        self.shared.file.truncate(end)
    }

    /// Writes bytes at the start of the first missing range.
    ///
    /// # Errors
    ///
    /// [`Error::Disk`] if the disk is full or failing.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.shared.next_segment().map_or(Ok(()), |writer| writer.write(bytes).map(drop))
    }

    /// Makes sure that there is space for a file of this length, and reserves it if the platform can, which extends the
    /// file to this length. A file that does not fit fails at once instead of using up the space of those that do.
    ///
    /// # Errors
    ///
    /// [`Error::NoRoom`] if the space is not free.
    pub fn reserve(&self, length: u64) -> Result<(), Error> {
        let needed = length.saturating_sub(self.received());
        if needed == 0 {
            return Ok(());
        }
        let no_room = |free| Error::NoRoom { path: self.path().to_owned(), needed, free };
        let is_large = needed >= MIN_CHECKED_SPACE;
        let free = || platform::free_space(directory_of(self.path()));
        if let Some(free) = is_large.then(free).flatten().filter(|free| *free < needed) {
            return Err(no_room(Some(free)));
        }
        match self.shared.file.preallocate(length) {
            Err(error)
                if is_large && matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                // Other files may have taken it since. If there is enough, a quota or a reserve is the limit.
                Err(no_room(free().filter(|free| *free < needed)))
            }
            // It is not an error if the file system does not support it.
            _ => Ok(()),
        }
    }

    /// Checks the bytes of a complete file against all of the digests.
    ///
    /// # Errors
    ///
    /// [`Error::WrongDigest`] for the first that differs, or [`Error::Disk`] if the file cannot be read.
    pub fn check_digests(&self, digests: &[Digest]) -> Result<(), Error> {
        if digests.is_empty() {
            return Ok(());
        }
        digest::check_file(&self.shared.file.handle, digests).map_err(|error| disk_error("read", self.path(), error))?
    }

    /// Syncs the file's bytes to disk.
    ///
    /// # Errors
    ///
    /// [`Error::Disk`] if that fails, or failed at an earlier checkpoint.
    pub fn sync(&self) -> Result<(), Error> {
        self.shared.file.sync_all()
    }

    /// Sets the file's modification time. It is not an error if the file system does not support it.
    pub fn set_modified(&self, time: SystemTime) {
        let _ = self.shared.file.handle.set_modified(time);
    }

    /// Marks the file with the source that it came from, if the file system can keep that.
    pub fn mark_source(&self, source: SourceId) {
        mark_source(&self.shared.file.handle, source);
    }

    /// Returns the current sidecar, if this process has claimed the file.
    #[must_use]
    pub fn sidecar(&self) -> Option<Sidecar> {
        self.shared.sidecar()
    }

    /// Returns how many bytes of the download have been written.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.shared.written_ranges().count()
    }

    /// Whether the file is locked. Some file systems have no locks.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// Returns which processes this one's lock excludes from the file.
    pub(super) const fn lock_scope(&self) -> LockScope {
        if self.is_locked && platform::LOCKS_SPAN_MACHINES { LockScope::AllMachines } else { LockScope::ThisMachine }
    }

    /// Returns messages for the user about files that were moved aside since the last call.
    #[must_use]
    pub fn take_moved(&self) -> Vec<String> {
        self.shared.moved.take()
    }

    /// Records, for the next checkpoint, how many requests for the rest have failed in a row and how many got an
    /// unusable response. Both are reset once more bytes are recorded.
    pub fn note_failed_resumes(&self, failed: u32, unusable: u32) {
        if let Some(sidecar) = &mut self.shared.lock_checkpoint().sidecar {
            (sidecar.failed_resumes, sidecar.unusable_responses) = (failed, unusable);
        }
    }

    /// Returns the state shared by the threads that write to the file.
    #[must_use]
    pub const fn shared(&self) -> &Arc<SharedPart> {
        &self.shared
    }

    /// Whether the commit may have replaced a file that had just appeared: the file system supports neither a rename
    /// without replacing nor hard links.
    #[must_use]
    pub fn renamed_non_atomically(&self) -> bool {
        self.renamed_non_atomically.load(Ordering::Relaxed)
    }

    pub(super) fn path(&self) -> &Path {
        &self.shared.file.path
    }
}
