//! Decides when another segment of a download may be requested, from how earlier ones went.
//!
//! - One segment is requested first; after that, one more may be pending than the server has served. A server that
//!   accepts few requests, or does not support ranges, is not sent many.
//! - A request that gets no response does not block others forever: one more is allowed after a second without a
//!   response, and each further one after twice as long.
//! - A response that is anything but the segment ends splitting for that download.
//! - After a temporary failure there is a pause of one second, twice as long after each further one, a minute at most.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::run::retry::doubled;

/// The pause after the first temporary failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How long one pending segment blocks another one, while the server has served none.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The split history of one download, across its attempts.
#[derive(Debug, Default)]
pub struct SplitBackoff(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Segments that were requested and have no response yet.
    pending: usize,
    /// When the last one was requested.
    requested: Option<Instant>,
    /// Segments for which the server sent the requested range.
    served: usize,
    /// Whether splitting has ended, because the server does not serve segments.
    is_refused: bool,
    failures_in_a_row: u32,
    paused_until: Option<Instant>,
    /// The last failure of another thread.
    failure: Option<Error>,
    helped: Duration,
    waited: Duration,
}

impl SplitBackoff {
    /// Whether another segment may be requested.
    pub fn allows_segment(&self, now: Instant) -> bool {
        let state = self.state();
        !state.is_refused && !state.is_paused(now) && (state.pending <= state.served || state.is_overdue(now))
    }

    /// Whether no segment may be requested because of recent failures.
    pub fn is_paused(&self) -> bool {
        self.state().is_paused(Instant::now())
    }

    /// Records a request for a segment.
    pub fn requested(&self, now: Instant) {
        let mut state = self.state();
        state.pending += 1;
        state.requested = Some(now);
    }

    /// Records the response to a requested segment, or its failure.
    pub fn responded(&self, is_ok: bool) {
        let mut state = self.state();
        state.pending = state.pending.saturating_sub(1);
        state.served += usize::from(is_ok);
    }

    /// Records that the download's own thread has finished a body.
    pub fn own_thread_finished(&self, result: &Result<(), Error>) {
        self.state().record(result, Instant::now());
    }

    /// Records that another thread has finished with a segment. `advanced` says whether it wrote any bytes.
    pub fn helper_finished(&self, result: Result<(), Error>, took: Duration, advanced: bool) {
        let mut state = self.state();
        state.helped += took;
        if advanced {
            state.failures_in_a_row = 0;
        }
        state.record(&result, Instant::now());
        state.failure = result.err();
    }

    /// Records that another thread's segment was over before it had written anything.
    pub fn helper_was_not_needed(&self, took: Duration) {
        self.state().helped += took;
    }

    /// Forgets how a server answered: the next segments come from another one.
    pub fn forget_server(&self) {
        let mut state = self.state();
        *state = State { helped: state.helped, waited: state.waited, ..State::default() };
    }

    /// Takes the last failure of another thread.
    pub fn take_failure(&self) -> Option<Error> {
        self.state().failure.take()
    }

    /// Records that the download's own thread has waited for others.
    pub fn waited(&self, time: Duration) {
        self.state().waited += time;
    }

    /// The time that other threads spent, less the time that the download's own thread waited for them.
    pub fn helper_time(&self) -> Duration {
        let state = self.state();
        state.helped.saturating_sub(state.waited)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Whether the pending segments have had no response for so long that one more may be requested.
    fn is_overdue(&self, now: Instant) -> bool {
        let doublings = u32::try_from(self.pending.saturating_sub(self.served + 1)).unwrap_or(u32::MAX);
        let patience = doubled(FIRST_PATIENCE, doublings, MAX_PAUSE);
        self.requested.is_some_and(|requested| now.saturating_duration_since(requested) >= patience)
    }

    fn record(&mut self, result: &Result<(), Error>, now: Instant) {
        match result {
            Ok(()) => (self.failures_in_a_row, self.paused_until) = (0, None),
            Err(failure) if !failure.is_temporary() || matches!(failure, Error::Segment(_) | Error::Range(_)) => {
                self.is_refused = true;
            }
            // Several connections often fail at once, for one reason. Only the first failure counts.
            Err(_) if self.is_paused(now) => {}
            Err(failure) => {
                let requested = failure.retry_after().map(|retry_after| retry_after.wait).unwrap_or_default();
                let pause = doubled(FIRST_PAUSE, self.failures_in_a_row, MAX_PAUSE);
                self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
                match now.checked_add(pause.max(requested)) {
                    Some(until) => self.paused_until = Some(until),
                    // The requested pause is too long for an `Instant`.
                    None => self.is_refused = true,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::RetryAfter;

    #[test]
    fn as_many_segments_are_requested_at_once_as_the_server_has_served() {
        let now = Instant::now();
        let backoff = SplitBackoff::default();
        for at_once in [1, 2, 4, 8] {
            let requests = (0..100).take_while(|_| {
                let allowed = backoff.allows_segment(now);
                if allowed {
                    backoff.requested(now);
                }
                allowed
            });
            assert_eq!(requests.count(), at_once);
            (0..at_once).for_each(|_| backoff.responded(true));
        }
        let refused = Err(Error::Segment(Box::new(Error::Range("it is the whole file"))));
        backoff.helper_finished(refused, Duration::ZERO, false);
        assert!(!backoff.allows_segment(now + MAX_PAUSE), "the server serves no segments");
    }

    #[test]
    fn a_request_without_a_response_does_not_block_others_forever() {
        let mut now = Instant::now();
        let backoff = SplitBackoff::default();
        for seconds in [1, 2, 4] {
            backoff.requested(now);
            now += Duration::from_secs(seconds);
            assert!(
                !backoff.allows_segment(now - Duration::from_millis(1)) && backoff.allows_segment(now),
                "{seconds}"
            );
        }
        backoff.responded(false);
        backoff.requested(now);
        assert!(!backoff.allows_segment(now));
    }

    #[test]
    fn pauses_double_and_failures_during_a_pause_do_not_count() {
        let failure = || Err(Error::Status { code: 503, reason: "", retry_after: None });
        let mut state = State::default();
        let mut now = Instant::now();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            (0..3).for_each(|_| state.record(&failure(), now));
            now += Duration::from_secs(seconds);
            assert!(state.is_paused(now - Duration::from_millis(1)) && !state.is_paused(now), "{seconds}");
        }
        state.record(&Ok(()), now);
        state.record(&failure(), now);
        assert!(!state.is_paused(now + FIRST_PAUSE), "a success starts over");
    }

    #[test]
    fn a_longer_retry_after_is_obeyed() {
        let now = Instant::now();
        let mut state = State::default();
        let wait = Duration::from_secs(10);
        let retry_after = Some(Box::new(RetryAfter { host: "h:80".to_owned(), wait }));
        state.record(&Err(Error::Status { code: 503, reason: "", retry_after }), now);
        assert!(state.is_paused(now + wait - Duration::from_millis(1)) && !state.is_paused(now + wait));
    }
}
