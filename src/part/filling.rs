//! One part file as all the threads see it that fill it: its pieces, and what of them is claimed to be on the disk.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::pieces::{Piece, Pieces};
use super::ranges::Ranges;
use super::sidecar::Sidecar;
use super::{disk, platform};
use crate::error::Failure;

/// A part file that threads fill. Bytes are written without a lock; one lock is around the pieces, and held for moments
/// only; another is around the claim, and held while that goes onto the disk.
#[derive(Debug)]
pub struct Filling {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pieces: Mutex<Pieces>,
    /// A thread has left its piece.
    left: Condvar,
    /// Whether nobody is to begin a piece, which the lock around them makes sure; who fills one sees it before long.
    is_over: AtomicBool,
    claim: Mutex<Claim>,
}

#[derive(Debug)]
struct Claim {
    /// What is known of the download.
    sidecar: Option<Sidecar>,
    saved: Instant,
    /// Whether the system failed to put bytes onto the disk; it does not say so twice.
    is_damaged: bool,
    /// Whether the part file is about to become its target, or to go.
    is_closed: bool,
}

/// What one thread fills of a part file. Dropped, it leaves the rest to others.
#[derive(Debug)]
pub struct Share {
    filling: Arc<Filling>,
    piece: Arc<Piece>,
}

impl Filling {
    pub(super) fn new(path: PathBuf, file: File) -> Self {
        let claim = Claim { sidecar: None, saved: Instant::now(), is_damaged: false, is_closed: false };
        Self {
            path,
            file,
            pieces: Mutex::default(),
            left: Condvar::new(),
            is_over: AtomicBool::new(false),
            claim: Mutex::new(claim),
        }
    }

    /// How long the slowest piece that is worth splitting will take; nothing at all where a piece is free.
    #[must_use]
    pub fn longest(&self) -> Option<Duration> {
        let mut pieces = self.pieces();
        match pieces.gap() {
            _ if self.is_over() => None,
            Some(_) => Some(Duration::MAX),
            None => pieces.longest(Instant::now()),
        }
    }

    /// Takes a free piece, or else half of the slowest, if that is worth it.
    #[must_use]
    pub fn help(self: &Arc<Self>) -> Option<Share> {
        let mut pieces = self.pieces();
        if self.is_over() {
            return None;
        }
        let piece = pieces.take().or_else(|| pieces.split(Instant::now()))?;
        drop(pieces);
        Some(Share { filling: Arc::clone(self), piece })
    }

    /// Takes a free piece.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Option<Share> {
        let piece = self.pieces().take()?;
        Some(Share { filling: Arc::clone(self), piece })
    }

    pub(super) fn received(&self) -> u64 {
        self.pieces().received()
    }

    pub(super) fn arrived(&self) -> Ranges {
        self.pieces().arrived()
    }

    pub(super) fn gap(&self) -> Option<(u64, Option<u64>)> {
        self.pieces().gap()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.pieces().is_whole()
    }

    /// Ends the filling if no thread is at it. Says whether it is over.
    pub(super) fn end_if_idle(&self) -> bool {
        let pieces = self.pieces();
        if pieces.is_idle() {
            self.is_over.store(true, Ordering::Relaxed);
        }
        pieces.is_idle()
    }

    /// Asks every thread to leave its piece, and waits until those have that could write.
    pub(super) fn stop(&self) {
        let mut pieces = self.pieces();
        self.is_over.store(true, Ordering::Relaxed);
        pieces.take_back_what_is_asked();
        while !pieces.is_idle() {
            pieces = self.left.wait(pieces).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until a thread leaves its piece, for so long at most.
    pub(super) fn wait(&self, longest: Duration) {
        let pieces = self.pieces();
        if !pieces.is_idle() {
            drop(self.left.wait_timeout(pieces, longest));
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// What is known of the download.
    pub(super) fn sidecar(&self) -> Option<Sidecar> {
        self.claim().sidecar.clone()
    }

    /// Begins anew with these bytes there, and with this sidecar or the one that there is. No thread is at it.
    pub(super) fn begin(&self, sidecar: Option<Sidecar>, done: Ranges, length: Option<u64>) {
        let mut claim = self.claim();
        if sidecar.is_some() {
            claim.sidecar = sidecar;
        }
        if let Some(sidecar) = &mut claim.sidecar {
            (sidecar.done, sidecar.length) = (done.clone(), length.or(sidecar.length));
        }
        (claim.saved, claim.is_closed) = (Instant::now(), false);
        *self.pieces() = Pieces::new(done, length);
        self.is_over.store(false, Ordering::Relaxed);
    }

    /// Whether what has arrived can be gone on with.
    pub(super) fn can_be_gone_on_with(&self) -> bool {
        self.received() > 0 && self.claim().sidecar.as_ref().is_some_and(|sidecar| sidecar.validator.is_some())
    }

    /// Claims what has arrived: first the bytes are put onto the disk, then the sidecar says so.
    pub(super) fn save(&self) -> io::Result<()> {
        self.save_in(&mut self.claim())
    }

    /// Claims what has arrived since the last time, if that was so long ago and the part file still is one.
    pub(super) fn save_after(&self, time: Duration) -> io::Result<()> {
        let mut claim = self.claim();
        let is_due = claim.saved.elapsed() >= time && !claim.is_closed;
        if is_due { self.save_in(&mut claim) } else { Ok(()) }
    }

    fn save_in(&self, claim: &mut Claim) -> io::Result<()> {
        let Some(sidecar) = claim.sidecar.as_mut().filter(|sidecar| sidecar.validator.is_some() && !claim.is_damaged)
        else {
            return Ok(());
        };
        let arrived = self.arrived();
        if arrived == sidecar.done {
            return Ok(());
        }
        claim.saved = Instant::now();
        if let Err(error) = self.file.sync_data() {
            claim.is_damaged = true;
            return Err(error);
        }
        sidecar.done = arrived;
        // If it cannot be written, the last one stays and claims less.
        let _ = sidecar.save(&self.path, false);
        Ok(())
    }

    /// The bytes and their length, onto the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all().inspect_err(|_| self.claim().is_damaged = true)
    }

    /// Nothing is saved from now on but by who asks for it; what is being saved is waited for.
    pub(super) fn close_claim(&self) {
        self.claim().is_closed = true;
    }

    fn pieces(&self) -> MutexGuard<'_, Pieces> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claim(&self) -> MutexGuard<'_, Claim> {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// The first byte that is wanted.
    #[must_use]
    pub fn from(&self) -> u64 {
        self.piece.position()
    }

    /// The place after the last byte that is wanted; `None` where nobody knows it.
    #[must_use]
    pub fn to(&self) -> Option<u64> {
        self.piece.end()
    }

    /// An answer has come that goes from a place up to `reach`, or nobody knows how far. Says whether it is what is
    /// wanted, and still is; if not, nothing of it may be written.
    #[must_use]
    pub fn answered(&self, from: u64, reach: Option<u64>) -> bool {
        let mut pieces = self.filling.pieces();
        from == self.from() && !self.filling.is_over() && pieces.answered(&self.piece, reach, Instant::now())
    }

    /// How many bytes are wanted next; 0 when the piece is full, or was given up.
    #[must_use]
    pub fn room(&self) -> usize {
        loop {
            let room = usize::try_from(self.piece.room()).unwrap_or(usize::MAX);
            if self.filling.is_over() {
                return 0;
            }
            if room > 0 || !self.filling.pieces().goes_on(&self.piece) {
                return room;
            }
        }
    }

    /// Writes the next bytes, no more than there was room for.
    ///
    /// # Errors
    ///
    /// The disk is full, or failing.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        let Filling { file, path, .. } = &*self.filling;
        platform::write_at(file, bytes, self.piece.position()).map_err(|source| disk("write", path, source))?;
        self.piece.advance(bytes.len() as u64);
        Ok(())
    }

    /// Counts what was written as missing again, for it proved not to be of the file. Says how many bytes that were.
    #[must_use]
    pub fn disown(&self) -> u64 {
        self.filling.pieces().disown(&self.piece)
    }

    /// The body has ended where the end of the file was not known.
    pub fn body_ended(&self) {
        self.filling.pieces().body_ended(&self.piece);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.filling.pieces().leave(&self.piece);
        self.filling.left.notify_all();
    }
}
