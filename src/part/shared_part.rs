//! The state of a part file that its writing threads share: its segments, its checkpoint, and whether writing has
//! stopped.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::checkpoint::Checkpoint;
use super::errors::locked_error;
use super::guarded_file::GuardedFile;
use super::move_aside::MoveLog;
use super::ownership::{check_ownership, is_owner};
use super::ranges::Ranges;
use super::segments::Segments;
use super::sidecar::Sidecar;
use super::sidecar_file;
use crate::error::Error;

/// A part file that threads write to, each its own segment, without holding a lock.
///
/// Two locks may be held at once only in this order: pool → registry of splittable downloads → segments of a file; and
/// checkpoint → segments. The segments lock is only ever held briefly. The checkpoint lock is held while bytes are
/// synced to disk, so no writer may need it.
#[derive(Debug)]
pub struct SharedPart {
    pub(super) file: GuardedFile,
    /// Which files were moved aside for its sidecar.
    pub(super) moved: Arc<MoveLog>,
    segments: Mutex<Segments>,
    /// Notified when a writer has left its segment, and after writes if the segments are closed.
    segments_changed: Condvar,
    checkpoint: Mutex<Checkpoint>,
}

impl SharedPart {
    pub(super) fn new(path: PathBuf, file: File, moved: Arc<MoveLog>) -> Self {
        Self {
            file: GuardedFile::new(path, file),
            moved,
            segments: Mutex::default(),
            segments_changed: Condvar::new(),
            checkpoint: Mutex::new(Checkpoint::new()),
        }
    }

    /// Whether every byte is in the file. Threads may still be receiving bytes that are not needed; they write none.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lock_segments().is_complete()
    }

    /// Returns the first missing range that no thread is writing. Its end is `None` if it goes to the end of the file.
    #[must_use]
    pub fn first_gap(&self) -> Option<(u64, Option<u64>)> {
        self.lock_segments().free_range()
    }

    /// Waits until a writer leaves its segment or the file is complete, but no longer than `longest`. Returns at once
    /// if no thread has anything to write.
    pub fn wait_for_writer(&self, longest: Duration) {
        let segments = self.lock_segments();
        if !segments.is_idle() && !segments.is_closed() {
            drop(self.segments_changed.wait_timeout(segments, longest));
        }
    }

    /// Ends writing if no thread has anything to write, and returns whether that is so.
    #[must_use]
    pub fn close_if_idle(&self) -> bool {
        let mut segments = self.lock_segments();
        let is_idle = segments.is_idle();
        if is_idle {
            segments.close();
        }
        is_idle
    }

    /// Saves a checkpoint, ends all segments, and waits for writes that have begun. Threads that still receive are
    /// woken, but not waited for: they can write nothing more.
    pub fn stop(&self) {
        if !self.close_if_idle() {
            let _ = self.save_checkpoint();
            self.stop_writers();
        }
    }

    pub(super) fn stop_writers(&self) {
        let mut segments = self.lock_segments();
        segments.close();
        while segments.has_reserved() {
            segments = self.segments_changed.wait(segments).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn notify_waiting(&self) {
        self.segments_changed.notify_all();
    }

    pub(super) fn written_ranges(&self) -> Ranges {
        self.lock_segments().written_ranges().clone()
    }

    /// Starts writing with `done` in the file, and with a new sidecar or the current one. No thread may be writing.
    pub(super) fn start_writing(&self, sidecar: Option<Sidecar>, done: Ranges, length: Option<u64>) {
        let mut checkpoint = self.lock_checkpoint();
        checkpoint.start(sidecar, &done, length);
        self.file.reset(done.end());
        self.lock_segments().restart(done, length);
    }

    /// Saves a checkpoint now.
    pub(super) fn save_checkpoint(&self) -> Result<(), Error> {
        let mut checkpoint = self.lock_checkpoint();
        checkpoint.save(self.written_ranges(), &self.file, &self.moved)
    }

    /// Saves a checkpoint if the last one is at least this old and automatic checkpoints are not stopped.
    pub(super) fn save_checkpoint_after(&self, interval: Duration) -> Result<(), Error> {
        let mut checkpoint = self.lock_checkpoint();
        let is_due = checkpoint.is_due(interval);
        if is_due { checkpoint.save(self.written_ranges(), &self.file, &self.moved) } else { Ok(()) }
    }

    /// Stops automatic checkpoints, after waiting for one in progress.
    pub(super) fn stop_checkpoints(&self) {
        self.lock_checkpoint().close();
    }

    pub(super) fn sidecar(&self) -> Option<Sidecar> {
        self.lock_checkpoint().sidecar.clone()
    }

    /// Whether the bytes written so far can be resumed.
    pub(super) fn is_resumable(&self) -> bool {
        self.written_ranges().end() > 0 && self.sidecar().is_some_and(|sidecar| sidecar.validator.is_some())
    }

    /// Whether this process has claimed the part file and not released it since.
    pub(super) fn is_claimed(&self) -> bool {
        self.sidecar().is_some_and(|sidecar| sidecar.owner.is_some())
    }

    /// Checks the sidecar on disk: the part file must still belong to this process.
    pub(super) fn check_owned(&self) -> Result<(), Error> {
        let sidecar = self.sidecar().ok_or_else(|| locked_error(&self.file.path))?;
        check_ownership(&self.file, &sidecar, &self.moved)
    }

    /// Whether the part file is known to belong to this process still, even if its bytes were changed.
    pub(super) fn is_owned(&self) -> bool {
        self.sidecar().is_some_and(|sidecar| is_owner(&self.file, &sidecar, &self.moved).unwrap_or(false))
    }

    /// Gives up ownership, so that another process or a later attempt can take the file over. Returns how many bytes
    /// the sidecar records.
    pub(super) fn release_ownership(&self) -> Result<u64, Error> {
        let Some(sidecar) = self.sidecar() else { return Ok(0) };
        check_ownership(&self.file, &sidecar, &self.moved)?;
        let sidecar = sidecar.owned_by(None);
        sidecar_file::save(&self.file.path, &sidecar, &self.moved)?;
        self.forget_sidecar();
        Ok(sidecar.done.count())
    }

    /// Ends the claim without touching the disk.
    pub(super) fn forget_sidecar(&self) {
        self.lock_checkpoint().sidecar = None;
    }

    pub(super) fn lock_segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_checkpoint(&self) -> MutexGuard<'_, Checkpoint> {
        self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
