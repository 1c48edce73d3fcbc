//! What a queue gives to a thread, and what it is told when the thread is done.

use std::time::Instant;

use super::limiter::{Served, Ticket};

/// Permission for one request to a host. It must be returned with `Queue::finish`.
#[derive(Debug)]
#[must_use = "a permit that is not returned is lost to its host"]
pub struct Permit {
    pub(super) id: usize,
    pub(super) host: u32,
    pub(super) ticket: Ticket,
}

impl Permit {
    /// The download that it is for, by its position in the plan.
    pub const fn id(&self) -> usize {
        self.id
    }

    /// The host that it is for.
    pub const fn host(&self) -> u32 {
        self.host
    }
}

/// What a thread that asks for work should do.
#[derive(Debug)]
pub enum Next<T> {
    /// Start this download, or continue it with what was kept of it.
    Start(Permit, Option<T>),
    /// Nothing may start before `Queue::next_time`, or before a permit is returned.
    Wait,
    /// Every download has finished, and no more will be added.
    Done,
}

/// What a request has shown about its host.
#[derive(Debug, Clone, Copy)]
pub enum Feedback {
    /// The host processed it. If that was a download in one request, this is how it went.
    Served(Option<Served>),
    /// The host refused it because there were too many.
    Refused,
    /// Nothing; for example, there was no response.
    Unknown,
}

/// Why a segment of a running download is permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentKind {
    /// More requests have been shown to pay.
    Proven,
    /// To find out whether more requests pay.
    Trial,
}

/// What becomes of the download after a request.
#[derive(Debug)]
pub enum Fate<T> {
    /// It has finished.
    Finished,
    /// It is to be retried, not before `at`, at the host of the source that it uses then.
    Retry { at: Instant, host: u32, kept: T },
    /// The request was for a segment; the download has its own permit.
    Segment,
}
