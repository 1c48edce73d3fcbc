//! What a run tells its reporter: changes of state as events, and byte counts to be read at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::outcome::Finished;
use super::stats::RunStats;
use crate::error::Error;
use crate::options::Mode;
use crate::plan::{Download, Plan};
use crate::url::WebUrl;

/// A change of state.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run begins.
    #[non_exhaustive]
    Planned {
        /// What it will download.
        plan: &'a Plan,
        /// Whether its downloads are concurrent.
        mode: Mode,
        /// Its counters, which can be read until and after its end.
        stats: &'a Arc<RunStats>,
        /// Whether the plan will grow.
        is_list_open: bool,
    },
    /// A download was added to the plan.
    Added(&'a Download),
    /// The list has something that is no valid entry. It counts as a permanent failure.
    #[non_exhaustive]
    Invalid {
        /// Where it is from; see [`Entry::with_place`](crate::Entry::with_place).
        place: u32,
        /// What is wrong with it.
        problem: &'a str,
    },
    /// The list has ended: the plan is complete.
    ListEnded(&'a Plan),
    /// A download begins. Its progress can be read from now on.
    Started(&'a Download, &'a Arc<Progress>),
    /// A response redirects to another URL.
    Redirected(&'a Download, &'a WebUrl),
    /// What an earlier run left cannot be resumed; the text says why.
    StartingOver(&'a Download, &'a str),
    /// An attempt failed, and the download will be tried again: after a temporary failure, or at its next source.
    #[non_exhaustive]
    Retrying {
        /// The download.
        download: &'a Download,
        /// Why it failed.
        failure: &'a Error,
        /// The wait before the next attempt. That may have to wait for a permit as well.
        wait: Duration,
        /// Attempts so far.
        attempts: u32,
        /// Which retry without progress the next attempt will be, and how many there may be.
        retry: (u32, u32),
    },
    /// The wait of a download has been over for a while, but its host has no permit for it yet.
    WaitingForPermit(&'a Download),
    /// Nothing is requested from a host for a while, because it asks for that. It is given with its port.
    Held(&'a str, Duration),
    /// A host that was held serves again, earlier than it said.
    Released(&'a str),
    /// Another attempt at a download begins.
    TryingAgain(&'a Download),
    /// Another connection fetches a segment of a running download, which begins at this byte.
    Split(&'a Download, u64),
    /// Another connection did not complete its segment. The download continues on those that are left.
    SegmentFailed(&'a Download, &'a Error),
    /// A download has finished, or was never started because the run stopped.
    Finished(&'a Download, &'a Finished),
    /// Something that the user should know, though it fails no download.
    Warning(&'a str),
}

/// Receives the events of a run. Any `Fn(&Event<'_>) + Sync` is a reporter, and `()` ignores everything.
pub trait Reporter: Sync {
    /// Handles one event. Called from several threads at once. A slow reporter slows the run; a panic in it is ignored.
    fn event(&self, event: &Event<'_>);
}

impl Reporter for () {
    fn event(&self, _: &Event<'_>) {}
}

impl<F: Fn(&Event<'_>) + Sync> Reporter for F {
    fn event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// The byte counts of one running download: written by its threads, read by anyone.
#[derive(Debug)]
pub struct Progress {
    transferred: AtomicU64,
    received: AtomicU64,
    length: AtomicU64,
    connections: AtomicU32,
}

/// Stands for an unknown length.
const UNKNOWN: u64 = u64::MAX;

impl Default for Progress {
    fn default() -> Self {
        Self {
            transferred: AtomicU64::new(0),
            received: AtomicU64::new(0),
            length: AtomicU64::new(UNKNOWN),
            connections: AtomicU32::new(0),
        }
    }
}

impl Progress {
    /// Bytes that came over the network in this run, in all attempts. Speed is measured by these.
    #[must_use]
    pub fn transferred(&self) -> u64 {
        self.transferred.load(Ordering::Relaxed)
    }

    /// Bytes of the file that have been received, including those of earlier attempts and runs. Goes down if some turn
    /// out to be useless.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// The length in bytes that the server announced, in the current attempt.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        Some(self.length.load(Ordering::Relaxed)).filter(|length| *length != UNKNOWN)
    }

    #[cfg(test)]
    pub(crate) fn of(received: u64, length: Option<u64>, connections: u32) -> Self {
        let progress = Self { connections: AtomicU32::new(connections), ..Self::default() };
        progress.begin(received, length);
        progress
    }

    /// How many connections it is receiving from.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts a connection until the result is dropped.
    pub(super) fn count_connection(self: &Arc<Self>) -> impl Drop + use<> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        CountedConnection(Arc::clone(self))
    }

    /// Records that an attempt begins with `received` bytes.
    pub(super) fn begin(&self, received: u64, length: Option<u64>) {
        self.received.store(received, Ordering::Relaxed);
        self.length.store(length.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    /// Records how many bytes are kept for the next attempt.
    pub(super) fn set_received(&self, received: u64) {
        self.received.store(received, Ordering::Relaxed);
    }

    /// Counts bytes that came over the network.
    pub(super) fn add_transferred(&self, bytes: u64) {
        self.transferred.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes of the file.
    pub(super) fn add_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes back bytes that turned out not to belong to the file.
    pub(super) fn subtract(&self, bytes: u64) {
        self.received.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A connection from which a download receives.
struct CountedConnection(Arc<Progress>);

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
