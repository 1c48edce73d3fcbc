//! When a failed download is tried again. Pure: the caller draws the random number and does the waiting.
//!
//! - Only temporary failures are retried: [`Error::is_temporary`] lists them.
//! - A download is given up after [`Retry::retries`] retries without progress. A failure that left more of the file
//!   than any before it is progress and resets the count. A server that truncates every response at the same byte and
//!   cannot resume is therefore not retried forever.
//! - The wait before the *n*th retry in a row is uniformly random between 0 and 2ⁿ⁻¹ seconds, at most a minute:
//!   exponential backoff with full jitter, so that downloads that failed together are not retried together.
//! - A `Retry-After` is obeyed, up to five minutes. A longer one fails the download temporarily.
//! - A part file owned by another process is not tried again until that process may be presumed dead.
//! - A download with another source tries that instead of giving up.

use std::time::Duration;

use crate::error::{Error, RetryAfter};
use crate::options::Retry;

/// The longest wait before the first retry.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait of the backoff.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The longest `Retry-After` that is obeyed.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// The failures of one download at one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// Failures since the last progress, including the one that came with it.
    in_a_row: u32,
    /// The most bytes that any failure has left in the part file.
    furthest: u64,
}

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after this wait.
    Wait(Duration),
    /// Try the next source at once.
    NextSource,
    /// The download has failed.
    GiveUp,
}

impl History {
    /// Which retry without progress comes next, from 1.
    pub const fn next_retry(&self) -> u32 {
        if self.in_a_row == 0 { 1 } else { self.in_a_row }
    }

    /// Records a failure after which the part file has `received` bytes.
    pub fn record(&mut self, received: u64) {
        if received > self.furthest {
            self.furthest = received;
            self.in_a_row = 1;
        } else {
            self.in_a_row = self.in_a_row.saturating_add(1);
        }
    }
}

/// Decides what follows a failure that `history` has recorded. `chance` is uniformly random in [0, 1).
pub fn decide(policy: &Retry, history: &History, failure: &Error, has_next_source: bool, chance: f64) -> Verdict {
    let retry_after = failure.retry_after().map(|retry_after| retry_after.wait);
    let least = retry_after.or(failure.free_in()).unwrap_or_default();
    if !failure.is_temporary() || history.in_a_row > policy.retries || least > MAX_RETRY_AFTER {
        let may_succeed_elsewhere = has_next_source && failure.is_source_specific();
        return if may_succeed_elsewhere { Verdict::NextSource } else { Verdict::GiveUp };
    }
    let longest = doubled(FIRST_WAIT, history.in_a_row.saturating_sub(1), MAX_WAIT);
    Verdict::Wait(longest.mul_f64(chance.clamp(0.0, 1.0)).max(least))
}

/// How long a failure asks us to stay away from its host, if that is obeyed. A `Retry-After` that is too long for that
/// delays no other downloads: each gets its own from the server.
pub fn hold(failure: &Error) -> Option<&RetryAfter> {
    failure.retry_after().filter(|retry_after| failure.is_temporary() && retry_after.wait <= MAX_RETRY_AFTER)
}

/// Doubles a wait `doublings` times, up to a maximum.
pub fn doubled(first: Duration, doublings: u32, max: Duration) -> Duration {
    first.saturating_mul(1 << doublings.min(16)).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Retry = Retry { retries: 8 };

    fn status(code: u16, wait: Option<u64>) -> Error {
        let retry_after = |seconds| RetryAfter { host: "h:80".to_owned(), wait: Duration::from_secs(seconds) };
        Error::Status { code, reason: "", retry_after: wait.map(|seconds| Box::new(retry_after(seconds))) }
    }

    fn after(failures: u32) -> History {
        History { in_a_row: failures, furthest: 0 }
    }

    fn seconds(seconds: u64) -> Verdict {
        Verdict::Wait(Duration::from_secs(seconds))
    }

    #[test]
    fn waits_double_up_to_a_minute_until_retries_are_used_up() {
        let longest: Vec<_> =
            (1..=9).map(|failures| decide(&POLICY, &after(failures), &status(503, None), false, 1.0)).collect();
        let mut expected: Vec<_> = [1, 2, 4, 8, 16, 32, 60, 60].map(seconds).into();
        expected.push(Verdict::GiveUp);
        assert_eq!(longest, expected);
    }

    #[test]
    fn the_jitter_is_full() {
        let failure = Error::Truncated { received: 1, expected: 2 };
        assert_eq!(decide(&POLICY, &after(3), &failure, false, 0.0), seconds(0));
        assert_eq!(decide(&POLICY, &after(3), &failure, false, 0.5), seconds(2));
    }

    #[test]
    fn permanent_failures_are_not_retried() {
        for failure in [status(404, None), Error::Panicked(String::new())] {
            assert_eq!(decide(&POLICY, &after(1), &failure, false, 0.5), Verdict::GiveUp, "{failure}");
        }
        let failure = Error::Stalled(Duration::from_secs(1));
        assert_eq!(decide(&Retry { retries: 0 }, &after(1), &failure, false, 0.5), Verdict::GiveUp);
        let unlimited = Retry { retries: u32::MAX };
        assert!(matches!(decide(&unlimited, &after(u32::MAX), &failure, false, 0.5), Verdict::Wait(_)));
    }

    #[test]
    fn retry_after_is_obeyed_up_to_five_minutes() {
        assert_eq!(decide(&POLICY, &after(1), &status(503, Some(7)), false, 0.5), seconds(7));
        assert_eq!(decide(&POLICY, &after(5), &status(503, Some(7)), false, 1.0), seconds(16), "the longer wait wins");
        assert_eq!(decide(&POLICY, &after(1), &status(429, Some(300)), false, 0.5), seconds(300));
        assert_eq!(decide(&POLICY, &after(1), &status(429, Some(301)), false, 0.5), Verdict::GiveUp);
        assert_eq!(decide(&POLICY, &after(1), &status(404, Some(1)), false, 0.5), Verdict::GiveUp);
    }

    #[test]
    fn a_host_is_held_for_as_long_as_a_temporary_failure_asks_up_to_five_minutes() {
        for (failure, held) in [
            (status(503, Some(7)), Some(7)),
            (status(500, Some(300)), Some(300)),
            (status(429, Some(301)), None),
            (status(404, Some(7)), None),
            (status(503, None), None),
        ] {
            let wait = hold(&failure).map(|retry_after| retry_after.wait);
            assert_eq!(wait, held.map(Duration::from_secs), "{failure}");
        }
    }

    #[test]
    fn a_part_file_in_use_is_retried_once_its_owner_may_be_presumed_dead() {
        let locked =
            |free_in: Option<u64>| Error::Locked { path: "x.part".into(), free_in: free_in.map(Duration::from_secs) };
        assert_eq!(decide(&POLICY, &after(1), &locked(Some(60)), false, 0.5), seconds(60));
        assert_eq!(decide(&POLICY, &after(5), &locked(Some(2)), false, 1.0), seconds(16), "the longer wait wins");
        assert_eq!(decide(&POLICY, &after(2), &locked(None), false, 0.5), seconds(1));
        assert_eq!(decide(&POLICY, &after(9), &locked(Some(60)), false, 0.5), Verdict::GiveUp);
    }

    #[test]
    fn only_progress_beyond_the_furthest_point_starts_a_new_count() {
        let mut history = History::default();
        for (received, in_a_row) in [(0, 1), (0, 2), (50, 1), (50, 2), (20, 3), (51, 1), (0, 2)] {
            history.record(received);
            assert_eq!(history.in_a_row, in_a_row, "{received}");
        }
    }

    #[test]
    fn the_next_source_is_tried_if_this_one_is_at_fault() {
        let full = || Error::NoRoom { path: "x.part".into(), needed: 2, free: Some(1) };
        for (failure, failures, verdict) in [
            (status(404, None), 1, Verdict::NextSource),
            (status(503, None), 9, Verdict::NextSource),
            (status(429, Some(301)), 1, Verdict::NextSource),
            (status(503, None), 1, seconds(1)),
            (full(), 1, Verdict::GiveUp),
        ] {
            assert_eq!(decide(&POLICY, &after(failures), &failure, true, 1.0), verdict, "{failure}");
        }
    }
}
