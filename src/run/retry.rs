//! When a failed download is tried again.
//!
//! The policy, which is pure (its caller rolls the dice and does the waiting):
//!
//! - Only failures that may pass are retried: [`Failure::is_temporary`] is the list.
//! - A download may be retried as often as [`Retry::retries`] says.
//! - The wait before retry *n* is drawn evenly from nothing to 2ⁿ⁻¹ seconds, and to a minute at most: exponential back-off
//!   with full jitter, so that many downloads refused at one moment do not come back at one moment.

use std::time::Duration;

use crate::error::Failure;
use crate::options::Retry;

/// The longest wait before the first retry.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait before any retry.
const LONGEST: Duration = Duration::from_secs(60);

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after this wait.
    Wait(Duration),
    /// It has failed.
    GiveUp,
}

/// Decides after the `attempts`th attempt has failed; `chance` is drawn evenly from 0 to 1.
#[must_use]
pub fn decide(policy: &Retry, attempts: u32, failure: &Failure, chance: f64) -> Verdict {
    if !failure.is_temporary() || matches!(failure, Failure::Cancelled) || attempts > policy.retries
    {
        return Verdict::GiveUp;
    }
    let doublings = attempts.saturating_sub(1).min(16);
    let longest = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    Verdict::Wait(longest.mul_f64(chance.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Retry = Retry { retries: 8 };

    #[test]
    fn waits_double_up_to_a_minute_and_end() {
        let failure = Failure::Status {
            code: 503,
            reason: "",
        };
        let longest: Vec<_> = (1..=9)
            .map(|attempts| decide(&POLICY, attempts, &failure, 1.0))
            .collect();
        let seconds = |seconds| Verdict::Wait(Duration::from_secs(seconds));
        let mut expected: Vec<_> = [1, 2, 4, 8, 16, 32, 60, 60].map(seconds).into();
        expected.push(Verdict::GiveUp);
        assert_eq!(longest, expected);
    }

    #[test]
    fn the_jitter_is_full() {
        let failure = Failure::Truncated {
            received: 1,
            expected: 2,
        };
        assert_eq!(
            decide(&POLICY, 3, &failure, 0.0),
            Verdict::Wait(Duration::ZERO)
        );
        assert_eq!(
            decide(&POLICY, 3, &failure, 0.5),
            Verdict::Wait(Duration::from_secs(2))
        );
    }

    #[test]
    fn what_is_for_good_is_not_tried_again() {
        for failure in [
            Failure::Status {
                code: 404,
                reason: "",
            },
            Failure::Panicked(String::new()),
            Failure::Cancelled,
        ] {
            assert_eq!(
                decide(&POLICY, 1, &failure, 0.5),
                Verdict::GiveUp,
                "{failure}"
            );
        }
        let failure = Failure::Stalled(Duration::from_secs(1));
        assert_eq!(
            decide(&Retry { retries: 0 }, 1, &failure, 0.5),
            Verdict::GiveUp
        );
        assert!(matches!(
            decide(&Retry { retries: u32::MAX }, u32::MAX, &failure, 0.5),
            Verdict::Wait(_)
        ));
    }
}
