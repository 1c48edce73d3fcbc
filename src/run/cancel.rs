//! How a caller stops a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Stops the runs that were started with it. Clones share one state, so any thread can hold one.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Creates a token that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the run: nothing new starts, and requests in flight end within about 100 ms. What has arrived of a file
    /// is kept for a later run if it can be resumed. This cannot be undone.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`cancel`](Self::cancel) was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What ends a run before its work is done: its token, and its maximum time.
#[derive(Debug, Clone, Copy)]
pub struct Stop<'a> {
    cancel: &'a CancelToken,
    deadline: Option<Instant>,
}

impl<'a> Stop<'a> {
    /// Starts the clock.
    pub fn new(cancel: &'a CancelToken, max_time: Option<Duration>) -> Self {
        // A limit too long to represent is no limit.
        Self { cancel, deadline: max_time.and_then(|time| Instant::now().checked_add(time)) }
    }

    pub fn is_stopped(&self) -> bool {
        self.cancel.is_cancelled() || self.is_out_of_time()
    }

    pub fn is_out_of_time(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}
