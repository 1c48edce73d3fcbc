//! What a part file claims to have on the disk. One thread writes bytes, another may save the claim meanwhile: the lock
//! is around the sidecar alone.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::sidecar::Sidecar;

/// The claim of one part file.
#[derive(Debug)]
pub struct Claim {
    pub path: PathBuf,
    pub file: File,
    /// Where the next byte goes: all before it are written, if not yet on the disk.
    position: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What is known of the download.
    sidecar: Option<Sidecar>,
    /// What the sidecar claims.
    claimed: u64,
    saved: Instant,
    /// Whether the system failed to put bytes onto the disk; it does not say so twice.
    is_damaged: bool,
    /// Whether the part file is about to become its target, or to go.
    is_over: bool,
}

impl Claim {
    pub fn new(path: PathBuf, file: File) -> Self {
        let state = State { sidecar: None, claimed: 0, saved: Instant::now(), is_damaged: false, is_over: false };
        Self { path, file, position: AtomicU64::new(0), state: Mutex::new(state) }
    }

    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// More bytes were written.
    pub fn advance(&self, count: u64) {
        self.position.fetch_add(count, Ordering::Release);
    }

    /// What is known of the download.
    pub fn sidecar(&self) -> Option<Sidecar> {
        self.state().sidecar.clone()
    }

    /// Begins anew at a position, with this sidecar or the one that there is; what is beyond it is claimed no more.
    pub fn begin(&self, sidecar: Option<Sidecar>, position: u64) {
        let mut state = self.state();
        if sidecar.is_some() {
            state.sidecar = sidecar;
        }
        if let Some(sidecar) = &mut state.sidecar {
            sidecar.done.cut(position);
        }
        (state.claimed, state.saved, state.is_over) = (position, Instant::now(), false);
        self.position.store(position, Ordering::Release);
    }

    /// Whether what has arrived can be gone on with.
    pub fn can_be_gone_on_with(&self) -> bool {
        self.position() > 0 && self.state().sidecar.as_ref().is_some_and(|sidecar| sidecar.validator.is_some())
    }

    /// Claims what has arrived: first the bytes are put onto the disk, then the sidecar says so.
    pub fn save(&self) -> io::Result<()> {
        self.save_in(&mut self.state())
    }

    /// Claims what has arrived since the last time, if that was so long ago and the part file still is one.
    pub fn save_after(&self, time: Duration) -> io::Result<()> {
        let mut state = self.state();
        let is_due = state.saved.elapsed() >= time && self.position() > state.claimed;
        if is_due && !state.is_over { self.save_in(&mut state) } else { Ok(()) }
    }

    fn save_in(&self, state: &mut State) -> io::Result<()> {
        let position = self.position();
        let Some(sidecar) = state.sidecar.as_mut().filter(|sidecar| sidecar.validator.is_some() && !state.is_damaged)
        else {
            return Ok(());
        };
        state.saved = Instant::now();
        if let Err(error) = self.file.sync_data() {
            state.is_damaged = true;
            return Err(error);
        }
        sidecar.done.add(0, position);
        state.claimed = position;
        // If it cannot be written, the last one stays and claims less.
        let _ = sidecar.save(&self.path, false);
        Ok(())
    }

    /// The bytes and their length, onto the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all().inspect_err(|_| self.state().is_damaged = true)
    }

    /// Nothing is saved from now on but by who asks for it; what is being saved is waited for.
    pub fn end(&self) {
        self.state().is_over = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
