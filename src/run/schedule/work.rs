//! The seam between a pool of threads and what they do.

use std::time::Duration;

use super::permit::SegmentKind;
use crate::error::Error;
use crate::http::{Timing, TrafficSnapshot};
use crate::run::growth::Addition;
use crate::run::outcome::Finished;
use crate::run::step::Step;

/// What a pool carries out: downloads, known by their position in the plan, and segments of those that are running.
pub trait Work: Sync {
    /// A download between two attempts.
    type Transfer: Send;
    /// A segment of a running download.
    type Segment;
    /// What a thread owns.
    type Worker;

    fn worker(&self, thread: usize) -> Self::Worker;

    /// Makes one attempt at a download. In a run this is `concurrent::Downloads`, which calls `step`.
    fn attempt(&self, id: usize, kept: Option<Self::Transfer>, worker: &mut Self::Worker) -> Step<Self::Transfer>;

    /// The host of the source that a download uses, as a number.
    fn host_of(&self, transfer: &Self::Transfer) -> u32;

    /// The number of a host by its name and port.
    fn host_number(&self, host: &str) -> Option<u32>;

    /// How long the exchange took from which this thread's last attempt received its body; `None` if it received none.
    fn timing(&self, worker: &Self::Worker) -> Option<Timing>;

    /// What has arrived from a host so far.
    fn traffic(&self, host: u32) -> TrafficSnapshot;

    /// Whether a segment of a running download should be fetched. `permits` says whether the download's host has a
    /// permit left; it is given the download's position in the plan, and how long it will take otherwise.
    fn wants_segment(&self, permits: PermitsSegment<'_>) -> bool;

    /// Takes the segment that is needed most, with its download's position in the plan.
    fn take_segment(&self, permits: PermitsSegment<'_>) -> Option<(usize, Self::Segment)>;

    /// Fetches a segment. Returns whether the server has sent any of it: if not, it was not needed any more.
    fn fetch_segment(&self, segment: &Self::Segment, worker: &mut Self::Worker) -> Result<bool, Error>;

    /// Gives a segment back. Its permit has been returned.
    fn give_back_segment(&self, segment: Self::Segment, result: Result<(), Error>);

    /// Reports a download that will be tried again, after `wait` at the earliest.
    fn report_retry(&self, transfer: &Self::Transfer, failure: &Error, wait: Duration);

    /// Reports that nothing is requested from a host for so long; or that it serves again, earlier than it said.
    fn report_hold(&self, host: u32, wait: Option<Duration>);

    /// Reports a download that is still waiting for a permit although its wait has been over for a while.
    fn report_late(&self, id: usize);

    /// Waits for the next download of a list that has not ended, unless `is_closed` returns true. It is in the plan by
    /// then.
    fn next_addition(&self, is_closed: &dyn Fn() -> bool) -> Addition<usize>;

    /// Numbers the hosts of a download that was added. Returns that of its first source, and how many there are now.
    fn number_hosts(&self, id: usize) -> (u32, usize);

    /// Reports a download that has finished.
    fn report(&self, id: usize, finished: &Finished);

    /// Reports a download that was not started.
    fn report_not_started(&self, id: usize);

    /// Whether nothing new may start after this.
    fn stops_run(&self, finished: &Finished) -> bool;

    /// Whether the run was cancelled or is out of time.
    fn is_stopped(&self) -> bool;

    fn close_idle_connections(&self);
}

/// Says whether a segment of a running download may be requested; see `Queue::permits_segment`.
pub type PermitsSegment<'f> = &'f mut dyn FnMut(usize, Duration) -> Option<SegmentKind>;
