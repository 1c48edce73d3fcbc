//! Changes of state that a reader of the run may want, and the byte counts beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::outcome::Finished;
use crate::error::Error;
use crate::options::Mode;
use crate::plan::{Download, Plan};
use crate::url::WebUrl;

/// A change of state.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run begins, in this mode.
    Planned(&'a Plan, Mode),
    /// A download begins. Its progress can be read from now on until it has ended.
    Started(&'a Download, &'a Arc<Progress>),
    /// An answer said to ask elsewhere.
    Redirected(&'a Download, &'a WebUrl),
    /// What is left of an earlier attempt cannot be gone on with, for this reason.
    StartingOver(&'a Download, &'a str),
    /// A download failed for now and is tried again after a wait.
    Retrying {
        /// Which.
        download: &'a Download,
        /// Why.
        failure: &'a Error,
        /// How long it waits.
        wait: Duration,
        /// How many attempts were made.
        attempts: u32,
    },
    /// A further connection gets a part of a running download, from this place on.
    Split(&'a Download, u64),
    /// A further connection did not get all of its part; the others go on.
    SegmentFailed(&'a Download, &'a Error),
    /// A download has ended, also one that never began.
    Finished(&'a Download, &'a Finished),
    /// Something that the user should know, and that fails no download.
    Warning(&'a str),
}

/// Hears of events. Called by the threads of the run, by several at once.
pub trait Reporter: Sync {
    /// Takes note; a slow reporter slows the run.
    fn event(&self, event: &Event<'_>);
}

/// Hears nothing.
impl Reporter for () {
    fn event(&self, _: &Event<'_>) {}
}

/// Bytes of one running download: written by its threads, read by anyone at any time.
#[derive(Debug)]
pub struct Progress {
    /// Over the network, by all attempts.
    transferred: AtomicU64,
    received: AtomicU64,
    length: AtomicU64,
}

/// Stands for a length that is not known.
const UNKNOWN: u64 = u64::MAX;

impl Default for Progress {
    fn default() -> Self {
        Self { transferred: AtomicU64::new(0), received: AtomicU64::new(0), length: AtomicU64::new(UNKNOWN) }
    }
}

impl Progress {
    /// Bytes that have come over the network in this run: what speed is measured by.
    #[must_use]
    pub fn transferred(&self) -> u64 {
        self.transferred.load(Ordering::Relaxed)
    }

    /// Bytes of the file that are there, those of earlier attempts and runs included.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// The announced length, where there is one.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        Some(self.length.load(Ordering::Relaxed)).filter(|length| *length != UNKNOWN)
    }

    pub(super) fn begin(&self, from: u64, length: Option<u64>) {
        self.received.store(from, Ordering::Relaxed);
        self.length.store(length.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    /// An attempt has ended, and so much is there for the next.
    pub(super) fn keep(&self, received: u64) {
        self.received.store(received, Ordering::Relaxed);
    }

    pub(super) fn add(&self, bytes: u64) {
        self.transferred.fetch_add(bytes, Ordering::Relaxed);
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that came turned out not to be of the file.
    pub(super) fn take_back(&self, bytes: u64) {
        self.received.fetch_sub(bytes, Ordering::Relaxed);
    }
}
