//! One part file as all the threads see it that fill it. What of it is claimed to be on the disk is the business of `claim`.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::move_aside::Moved;
use super::ranges::Ranges;
use super::segments::{Segment, Segments};
use super::sidecar::Sidecar;
use super::{disk, locked, platform};
use crate::error::Error;

/// Stands for the length of a file that was given none in advance.
const UNKNOWN: u64 = u64::MAX;

/// A part file that threads fill. Bytes are written without a lock; one lock is around the pieces, and held for moments
/// only; another is around the claim, and held while that goes onto the disk.
#[derive(Debug)]
pub struct SharedPart {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// What was moved aside for its sidecar.
    pub(super) moved: Arc<Moved>,
    segments: Mutex<Segments>,
    /// A thread has left its piece.
    left: Condvar,
    /// Whether nobody is to begin a piece, which the lock around them makes sure; who fills one sees it before long.
    is_over: AtomicBool,
    /// The end of what has been written. The file is shorter only if another process cut it.
    end: AtomicU64,
    /// The length that the file was given in advance, and keeps until it is whole; [`UNKNOWN`] if it grows as it is
    /// written.
    full_length: AtomicU64,
    interference: OnceLock<Interference>,
    /// Why the system failed to put bytes onto the disk; it does not say so twice. None of what has arrived since the
    /// last claim counts then.
    pub(super) damage: OnceLock<io::Error>,
    checkpoint: Mutex<Checkpoint>,
}

/// What another process did to the part file. Nothing more is written to it then.
#[derive(Debug, Clone, Copy)]
pub(super) enum Interference {
    /// It is the owner now.
    TakenOver,
    /// It cut or extended the file.
    Changed,
}

#[derive(Debug)]
pub(super) struct Checkpoint {
    /// What the sidecar says; it has an owner while the part file is this process's.
    pub(super) sidecar: Option<Sidecar>,
    pub(super) saved: Instant,
    /// Whether the part file is about to become its target, or to go.
    pub(super) is_closed: bool,
}

/// What one thread fills of a part file. Dropped, it leaves the rest to others.
#[derive(Debug)]
pub struct SegmentWriter {
    shared: Arc<SharedPart>,
    segment: Arc<Segment>,
}

impl SharedPart {
    pub(super) fn new(path: PathBuf, file: File, moved: Arc<Moved>) -> Self {
        let checkpoint = Checkpoint { sidecar: None, saved: Instant::now(), is_closed: false };
        Self {
            path,
            file,
            moved,
            segments: Mutex::default(),
            left: Condvar::new(),
            is_over: AtomicBool::new(false),
            end: AtomicU64::new(0),
            full_length: AtomicU64::new(UNKNOWN),
            interference: OnceLock::new(),
            damage: OnceLock::new(),
            checkpoint: Mutex::new(checkpoint),
        }
    }

    /// How long the slowest piece that is worth splitting will take; nothing at all where a piece is free.
    #[must_use]
    pub fn longest(&self) -> Option<Duration> {
        let mut segments = self.segments();
        match segments.gap() {
            _ if self.is_over() => None,
            Some(_) => Some(Duration::MAX),
            None => segments.longest(Instant::now()),
        }
    }

    /// Takes a free piece, or else half of the slowest, if that is worth it.
    #[must_use]
    pub fn help(self: &Arc<Self>) -> Option<SegmentWriter> {
        let mut segments = self.segments();
        if self.is_over() {
            return None;
        }
        let segment = segments.take().or_else(|| segments.split(Instant::now()))?;
        drop(segments);
        Some(SegmentWriter { shared: Arc::clone(self), segment })
    }

    /// Takes a free piece.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Option<SegmentWriter> {
        let segment = self.segments().take()?;
        Some(SegmentWriter { shared: Arc::clone(self), segment })
    }

    pub(super) fn received(&self) -> u64 {
        self.segments().received()
    }

    pub(super) fn arrived(&self) -> Ranges {
        self.segments().arrived()
    }

    pub(super) fn gap(&self) -> Option<(u64, Option<u64>)> {
        self.segments().gap()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.segments().is_whole()
    }

    /// Ends the filling if no thread is at it. Says whether it is over.
    pub(super) fn close_if_idle(&self) -> bool {
        let segments = self.segments();
        if segments.is_idle() {
            self.is_over.store(true, Ordering::Relaxed);
        }
        segments.is_idle()
    }

    /// Asks every thread to leave its piece, and waits until those have that could write.
    pub(super) fn stop(&self) {
        let mut segments = self.segments();
        self.is_over.store(true, Ordering::Relaxed);
        segments.release_unanswered();
        while !segments.is_idle() {
            segments = self.left.wait(segments).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until a thread leaves its piece, for so long at most.
    pub(super) fn wait(&self, longest: Duration) {
        let segments = self.segments();
        if !segments.is_idle() {
            drop(self.left.wait_timeout(segments, longest));
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// What is known of the download.
    pub(super) fn sidecar(&self) -> Option<Sidecar> {
        self.checkpoint().sidecar.clone()
    }

    /// Begins anew with these bytes there, and with this sidecar or the one that there is. No thread is at it.
    pub(super) fn begin(&self, sidecar: Option<Sidecar>, done: Ranges, length: Option<u64>) {
        let mut checkpoint = self.checkpoint();
        if sidecar.is_some() {
            checkpoint.sidecar = sidecar;
        }
        if let Some(sidecar) = &mut checkpoint.sidecar {
            (sidecar.done, sidecar.length) = (done.clone(), length.or(sidecar.length));
        }
        (checkpoint.saved, checkpoint.is_closed) = (Instant::now(), false);
        self.end.store(done.end(), Ordering::SeqCst);
        self.full_length.store(UNKNOWN, Ordering::SeqCst);
        *self.segments() = Segments::new(done, length);
        self.is_over.store(false, Ordering::Relaxed);
    }

    /// Gives the file its full length, where the file system can do that without writing zeros. A cut then shows until
    /// the end: a write after it makes the file longer again, but not as long as it was. No thread fills the file yet.
    pub(super) fn preallocate(&self, length: u64) -> io::Result<()> {
        let end = self.end.load(Ordering::SeqCst);
        let allocated = platform::preallocate(&self.file, length);
        match (&self.file).seek(SeekFrom::End(0))? {
            now if now == length && length > end => self.full_length.store(length, Ordering::SeqCst),
            // It failed halfway.
            now if now > end => self.file.set_len(end)?,
            _ => {}
        }
        allocated
    }

    /// Cuts the file to a length, from which it may grow again. No thread fills it.
    pub(super) fn cut(&self, length: u64) -> Result<(), Error> {
        self.full_length.store(UNKNOWN, Ordering::SeqCst);
        self.file.set_len(length).map_err(|source| disk("cut", &self.path, source))
    }

    /// Checks that the file has the length that it was given in advance, or else that it is not shorter than what has
    /// been written. Otherwise the next write would leave a hole of zeros, and the file would have the right length in
    /// the end.
    pub(super) fn check_end(&self) -> Result<(), Error> {
        self.check_interference()?;
        // Loaded before the length is read: another thread may write in between.
        let end = self.end.load(Ordering::SeqCst);
        // By a seek (0.1 µs): on NFS, fstat waits until the server has everything that was written.
        let length = (&self.file).seek(SeekFrom::End(0)).map_err(|source| disk("look at", &self.path, source))?;
        let is_right = match self.full_length.load(Ordering::SeqCst) {
            UNKNOWN => length >= end,
            full_length => length == full_length,
        };
        if is_right { Ok(()) } else { self.interfered(Interference::Changed) }
    }

    /// Checks that the file has exactly the length of what has arrived.
    pub(super) fn check_length(&self, length: u64) -> Result<(), Error> {
        self.check_interference()?;
        if length == self.arrived().end() { Ok(()) } else { self.interfered(Interference::Changed) }
    }

    pub(super) fn check_interference(&self) -> Result<(), Error> {
        self.interference.get().map_or(Ok(()), |interference| self.interfered(*interference))
    }

    /// Records what another process did, and fails with it.
    pub(super) fn interfered(&self, interference: Interference) -> Result<(), Error> {
        Err(match self.interference.get_or_init(|| interference) {
            Interference::TakenOver => locked(&self.path),
            Interference::Changed => Error::PartChanged(self.path.clone()),
        })
    }

    /// The bytes and their length, onto the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.check_damage()?;
        self.file.sync_all().or_else(|error| self.damaged(error))
    }

    /// Checks that no bytes were lost on their way to the disk, as far as the system has said.
    pub(super) fn check_damage(&self) -> Result<(), Error> {
        let Some(damage) = self.damage.get() else { return Ok(()) };
        let again = damage.raw_os_error().map_or_else(|| damage.kind().into(), io::Error::from_raw_os_error);
        Err(disk("write", &self.path, again))
    }

    /// Records that bytes could not be put onto the disk, and fails with it.
    pub(super) fn damaged(&self, error: io::Error) -> Result<(), Error> {
        // A file system that cannot do it at all has lost nothing.
        if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) {
            return Err(disk("write", &self.path, error));
        }
        let _ = self.damage.set(error);
        self.check_damage()
    }

    fn segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn checkpoint(&self) -> MutexGuard<'_, Checkpoint> {
        self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SegmentWriter {
    /// The first byte that is wanted.
    #[must_use]
    pub fn from(&self) -> u64 {
        self.segment.position()
    }

    /// The place after the last byte that is wanted; `None` where nobody knows it.
    #[must_use]
    pub fn to(&self) -> Option<u64> {
        self.segment.end()
    }

    /// An answer has come that goes from a place up to `reach`, or nobody knows how far. Says whether it is what is
    /// wanted, and still is; if not, nothing of it may be written.
    #[must_use]
    pub fn answered(&self, from: u64, range_end: Option<u64>) -> bool {
        let mut segments = self.shared.segments();
        from == self.from() && !self.shared.is_over() && segments.answered(&self.segment, range_end, Instant::now())
    }

    /// How many bytes are wanted next; 0 when the piece is full, or was given up.
    #[must_use]
    pub fn room(&self) -> usize {
        loop {
            let room = usize::try_from(self.segment.room()).unwrap_or(usize::MAX);
            if self.shared.is_over() {
                return 0;
            }
            if room > 0 || !self.shared.segments().extend(&self.segment) {
                return room;
            }
        }
    }

    /// Writes the next bytes, no more than there was room for.
    ///
    /// # Errors
    ///
    /// The disk is full, or failing; or another process has changed the file or taken it over.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        let SharedPart { file, path, end, .. } = &*self.shared;
        self.shared.check_damage()?;
        self.shared.check_end()?;
        platform::write_at(file, bytes, self.segment.position()).map_err(|source| disk("write", path, source))?;
        self.segment.advance(bytes.len() as u64);
        end.fetch_max(self.segment.position(), Ordering::SeqCst);
        Ok(())
    }

    /// Counts what was written as missing again, for it proved not to be of the file. Says how many bytes that were.
    #[must_use]
    pub fn discard_written(&self) -> u64 {
        self.shared.segments().discard_written(&self.segment)
    }

    /// The body has ended where the end of the file was not known.
    pub fn body_ended(&self) {
        self.shared.segments().body_ended(&self.segment);
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        self.shared.segments().leave(&self.segment);
        self.shared.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::time::SystemTime;

    use super::super::{PartFile, sidecar};
    use super::*;
    use crate::url::WebUrl;

    #[test]
    fn a_sidecar_is_written_again_though_nothing_arrives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.part");
        let mut part = PartFile::create(&path).unwrap();
        part.start(&WebUrl::parse("http://h/x").unwrap(), None, None).unwrap();
        let before = fs::read(sidecar::path(&path)).unwrap();
        let age = || {
            let written = sidecar::path(&path).metadata().unwrap().modified().unwrap();
            SystemTime::now().duration_since(written).unwrap_or_default()
        };
        let old = SystemTime::now() - Duration::from_secs(50);
        OpenOptions::new().write(true).open(sidecar::path(&path)).unwrap().set_modified(old).unwrap();
        for (seconds, is_refreshed) in [(14, false), (15, true)] {
            // A machine that has just been started has no earlier time.
            let Some(saved) = Instant::now().checked_sub(Duration::from_secs(seconds)) else { return };
            part.shared().checkpoint().saved = saved;
            part.shared().save_after(Duration::from_millis(700)).unwrap();
            assert_eq!(age() < Duration::from_secs(40), is_refreshed, "{seconds}");
        }
        assert_eq!(fs::read(sidecar::path(&path)).unwrap(), before);
    }
}
