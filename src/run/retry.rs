//! When a failed download is tried again.
//!
//! The policy, which is pure (its caller rolls the dice and does the waiting):
//!
//! - Only failures that may pass are retried: [`Error::is_temporary`] is the list.
//! - A download may be retried as often in a row as [`Retry::retries`] says. A failure that left more of the file
//!   than any before it begins a new row, for something was gained; a server that cuts every answer at the same
//!   point, and cannot resume, therefore does not go on for ever.
//! - The wait before the *n*th retry in a row is drawn evenly from nothing to 2ⁿ⁻¹ seconds, and to a minute at most:
//!   exponential back-off with full jitter, so that many downloads refused at one moment do not come back at one
//!   moment.
//! - A server that says `Retry-After` is not asked earlier, nor is anything else of its host. More than five minutes
//!   are not waited for: the download fails, for now.
//! - A part file that another process has is not looked at again before that process may count as dead.

use std::time::Duration;

use crate::error::Error;
use crate::options::Retry;

/// The longest wait before the first retry.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait before any retry that the server has no wish about.
const LONGEST: Duration = Duration::from_secs(60);

/// A server that wants a longer wait is not waited for.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// The failures of one download so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// Failures since something was last gained, with the one that came after it.
    in_a_row: u32,
    /// The most bytes that any failure left in the part file.
    furthest: u64,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after this wait.
    Wait(Duration),
    /// It has failed.
    GiveUp,
}

impl History {
    /// Takes note of a failure that came when the part file had so many bytes.
    pub fn failed(&mut self, received: u64) {
        if received > self.furthest {
            self.furthest = received;
            self.in_a_row = 1;
        } else {
            self.in_a_row = self.in_a_row.saturating_add(1);
        }
    }
}

/// Decides after a failure that `history` has been told of; `chance` is drawn evenly from 0 to 1.
#[must_use]
pub fn decide(policy: &Retry, history: &History, failure: &Error, chance: f64) -> Verdict {
    let of_server = failure.retry_after().map(|hold_back| hold_back.wait);
    let wish = of_server.or(failure.free_in()).unwrap_or_default();
    if !failure.is_temporary() || history.in_a_row > policy.retries || wish > MAX_RETRY_AFTER {
        return Verdict::GiveUp;
    }
    let doublings = history.in_a_row.saturating_sub(1).min(16);
    let longest = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    Verdict::Wait(longest.mul_f64(chance.clamp(0.0, 1.0)).max(wish))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::RetryAfter;

    const POLICY: Retry = Retry { retries: 8 };

    fn status(code: u16, wish: Option<u64>) -> Error {
        let hold_back = |seconds| RetryAfter { host: "h:80".to_owned(), wait: Duration::from_secs(seconds) };
        Error::Status { code, reason: "", retry_after: wish.map(|seconds| Box::new(hold_back(seconds))) }
    }

    fn after(failures: u32) -> History {
        History { in_a_row: failures, furthest: 0 }
    }

    fn seconds(seconds: u64) -> Verdict {
        Verdict::Wait(Duration::from_secs(seconds))
    }

    #[test]
    fn waits_double_up_to_a_minute_and_end() {
        let longest: Vec<_> =
            (1..=9).map(|failures| decide(&POLICY, &after(failures), &status(503, None), 1.0)).collect();
        let mut expected: Vec<_> = [1, 2, 4, 8, 16, 32, 60, 60].map(seconds).into();
        expected.push(Verdict::GiveUp);
        assert_eq!(longest, expected);
    }

    #[test]
    fn the_jitter_is_full() {
        let failure = Error::Truncated { received: 1, expected: 2 };
        assert_eq!(decide(&POLICY, &after(3), &failure, 0.0), seconds(0));
        assert_eq!(decide(&POLICY, &after(3), &failure, 0.5), seconds(2));
    }

    #[test]
    fn what_is_for_good_is_not_tried_again() {
        for failure in [status(404, None), Error::Panicked(String::new())] {
            assert_eq!(decide(&POLICY, &after(1), &failure, 0.5), Verdict::GiveUp, "{failure}");
        }
        let failure = Error::Stalled(Duration::from_secs(1));
        assert_eq!(decide(&Retry { retries: 0 }, &after(1), &failure, 0.5), Verdict::GiveUp);
        let ever = Retry { retries: u32::MAX };
        assert!(matches!(decide(&ever, &after(u32::MAX), &failure, 0.5), Verdict::Wait(_)));
    }

    #[test]
    fn a_servers_wish_is_heeded_up_to_five_minutes() {
        assert_eq!(decide(&POLICY, &after(1), &status(503, Some(7)), 0.5), seconds(7));
        assert_eq!(decide(&POLICY, &after(5), &status(503, Some(7)), 1.0), seconds(16), "the longer wait counts");
        assert_eq!(decide(&POLICY, &after(1), &status(429, Some(300)), 0.5), seconds(300));
        assert_eq!(decide(&POLICY, &after(1), &status(429, Some(301)), 0.5), Verdict::GiveUp);
        assert_eq!(decide(&POLICY, &after(1), &status(404, Some(1)), 0.5), Verdict::GiveUp);
    }

    #[test]
    fn another_process_is_waited_for_until_it_may_count_as_dead() {
        let locked =
            |free_in: Option<u64>| Error::Locked { path: "x.part".into(), free_in: free_in.map(Duration::from_secs) };
        assert_eq!(decide(&POLICY, &after(1), &locked(Some(60)), 0.5), seconds(60));
        assert_eq!(decide(&POLICY, &after(5), &locked(Some(2)), 1.0), seconds(16), "the longer wait counts");
        assert_eq!(decide(&POLICY, &after(2), &locked(None), 0.5), seconds(1));
        assert_eq!(decide(&POLICY, &after(9), &locked(Some(60)), 0.5), Verdict::GiveUp);
    }

    #[test]
    fn only_bytes_beyond_the_furthest_point_renew_the_count() {
        let mut history = History::default();
        for (received, in_a_row) in [(0, 1), (0, 2), (50, 1), (50, 2), (20, 3), (51, 1), (0, 2)] {
            history.failed(received);
            assert_eq!(history.in_a_row, in_a_row, "{received}");
        }
    }
}
