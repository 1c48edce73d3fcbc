//! The running downloads that idle threads may help with.
//!
//! The thread that runs a download registers it once it knows a validator, which proves that segments are of the same
//! file. An idle thread takes a range that is free, or else the end of a segment, as `part::claim` decides.
//!
//! Lock order: pool, then registry, then a file's segments.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::backoff::SplitBackoff;
use crate::http::Validator;
use crate::part::{Demand, SegmentWriter, SharedPart};
use crate::plan::Source;
use crate::run::event::Progress;
use crate::url::WebUrl;

/// What a thread needs to fetch a segment of a running download.
#[derive(Debug)]
pub struct SplitDownload {
    /// Its position in the plan.
    pub id: usize,
    pub source: Source,
    pub sends_common_headers: bool,
    /// The URL that redirects led to.
    pub effective_url: Option<WebUrl>,
    pub validator: Validator,
    pub length: u64,
    pub part: Arc<SharedPart>,
    /// How long it took until the first response of this attempt arrived.
    pub latency: Duration,
    pub progress: Arc<Progress>,
    pub backoff: Arc<SplitBackoff>,
}

impl SplitDownload {
    /// How long its slowest segment will take, if another connection would help.
    fn time_left(&self) -> Option<Duration> {
        self.backoff.allows_segment(Instant::now()).then(|| self.part.time_left(self.demand(false))).flatten()
    }

    const fn demand(&self, is_trial: bool) -> Demand {
        Demand { round_trip: self.latency, is_trial }
    }

    /// Takes a segment for another thread: a free range, or the end of another segment.
    pub fn take_segment_for_helper(&self, is_trial: bool) -> Option<SegmentWriter> {
        let is_allowed = self.backoff.allows_segment(Instant::now());
        let writer = is_allowed.then(|| self.part.assign_segment(self.demand(is_trial))).flatten()?;
        self.backoff.requested(Instant::now());
        Some(writer)
    }

    /// Takes the next segment for the download's own thread. It takes from other segments only if other threads may
    /// help.
    pub fn take_own_segment(&self, may_split: bool) -> Option<SegmentWriter> {
        let can_split = may_split && self.backoff.allows_segment(Instant::now());
        let taken = if can_split { self.part.assign_segment(self.demand(false)) } else { None };
        let writer = taken.or_else(|| self.part.next_segment())?;
        self.backoff.requested(Instant::now());
        Some(writer)
    }
}

/// The running downloads that may be split.
#[derive(Debug, Default)]
pub struct SplitRegistry(Mutex<Vec<Arc<SplitDownload>>>);

/// Keeps a download in the registry until it is dropped.
#[derive(Debug)]
pub struct Registration<'a> {
    registry: &'a SplitRegistry,
    download: Arc<SplitDownload>,
}

impl SplitRegistry {
    /// Offers a download to idle threads.
    pub fn register(&self, download: &Arc<SplitDownload>) -> Registration<'_> {
        self.downloads().push(Arc::clone(download));
        Registration { registry: self, download: Arc::clone(download) }
    }

    /// The download that will take longest, among those that can be split and for which `permits` gives a permit. It is
    /// asked with the download's position in the plan and the time that it will take, longest first.
    pub fn slowest<P>(&self, mut permits: impl FnMut(usize, Duration) -> Option<P>) -> Option<(Arc<SplitDownload>, P)> {
        let downloads = self.downloads();
        let mut times: Vec<_> =
            downloads.iter().filter_map(|download| Some((download.time_left()?, download))).collect();
        // Of several that have stalled, each gets some.
        times.sort_by_key(|(time, download)| (Reverse(*time), download.part.connections()));
        times.into_iter().find_map(|(time, download)| Some((Arc::clone(download), permits(download.id, time)?)))
    }

    fn downloads(&self) -> MutexGuard<'_, Vec<Arc<SplitDownload>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.registry.downloads().retain(|download| !Arc::ptr_eq(download, &self.download));
    }
}
