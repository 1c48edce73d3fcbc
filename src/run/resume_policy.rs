//! What to request of a file of which some has been received. Pure.
//!
//! - The rest is requested, until a response cannot be used, or two requests in a row fail at a server that can be
//!   reached. Then the whole file is requested, once: some servers fail at every range and at nothing else. The part is
//!   kept meanwhile, and whichever of the two is complete first wins.
//! - A response that does not continue the part does not cost it either: it may come from another mirror, or from a
//!   server with another version. Only after the third in a row does the download start over.
//! - When the part grows, all of this begins anew.

use crate::error::Error;

/// Start over after this many unusable responses in a row.
const MAX_UNUSABLE: u32 = 3;

/// Request the whole file after this many requests for the rest have failed in a row.
const MAX_FAILURES: u32 = 2;

/// What has come of the attempts since the part last grew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResumePolicy {
    failures: u32,
    unusable: u32,
    asked_for_whole: bool,
}

/// What to request. In each case the part is kept until there is a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// What is missing.
    Rest,
    /// The whole file, to be received beside the part.
    Whole,
    /// The whole file, in place of the part.
    StartOver,
}

impl ResumePolicy {
    /// The policy for a run that finds a part file of an earlier one, with the [counts](Self::counts) that it recorded.
    ///
    /// The server may have recovered. So a run that can make more than one attempt requests the rest first, and earlier
    /// failures count as one in all.
    pub fn after(failures: u32, unusable: u32, retries: u32) -> Self {
        let is_only_attempt = retries == 0;
        let max_failures = if is_only_attempt { MAX_FAILURES } else { MAX_FAILURES - 1 };
        Self { failures: failures.min(max_failures), unusable, asked_for_whole: unusable > 0 && !is_only_attempt }
    }

    /// Requests for the rest that have failed in a row, and unusable responses in a row: what a later run must know.
    pub const fn counts(&self) -> (u32, u32) {
        (self.failures, self.unusable)
    }

    /// What the next attempt requests.
    pub const fn next_request(&mut self) -> Ask {
        if self.unusable >= MAX_UNUSABLE {
            *self = Self { failures: 0, unusable: 0, asked_for_whole: false };
            return Ask::StartOver;
        }
        if !self.asked_for_whole && (self.unusable > 0 || self.failures >= MAX_FAILURES) {
            (self.asked_for_whole, self.failures) = (true, 0);
            return Ask::Whole;
        }
        Ask::Rest
    }

    /// Whether a whole file that comes now is received beside the part, and not in its place.
    pub const fn keeps_part_for_whole(&self) -> bool {
        self.unusable + 1 < MAX_UNUSABLE
    }

    /// The part grew.
    pub fn part_grew(&mut self) {
        *self = Self::default();
    }

    /// An attempt failed and left the part as it was.
    pub const fn request_failed(&mut self, failure: &Error) {
        match failure {
            Error::Range(_) => self.unusable += 1,
            Error::Status { code, .. } if *code != 429 => self.failures += 1,
            Error::Broken { .. } | Error::Truncated { .. } | Error::Stalled(_) | Error::Protocol(_) => {
                self.failures += 1;
            }
            // It says nothing about how the server responds to a range.
            _ => {}
        }
    }

    /// A whole file broke off.
    pub const fn whole_failed(&mut self) {
        self.unusable += 1;
    }

    /// The disk has no room for a whole file beside the part.
    pub const fn give_up_part(&mut self) {
        self.unusable = MAX_UNUSABLE;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const UNUSABLE: Error = Error::Range("it starts at a different offset");
    const STALLED: Error = Error::Stalled(Duration::from_secs(1));
    const FAILED: Error = Error::Status { code: 500, reason: "", retry_after: None };
    const BUSY: Error = Error::Status { code: 429, reason: "", retry_after: None };
    const UNREACHABLE: Error = Error::ConnectTimeout(Duration::from_secs(1));

    /// What is requested, if each attempt fails with the next of these.
    fn requests(failures: &[&Error]) -> Vec<Ask> {
        let mut policy = ResumePolicy::default();
        let ask = |failure: &&Error| {
            let ask = policy.next_request();
            policy.request_failed(failure);
            ask
        };
        failures.iter().map(ask).collect()
    }

    #[test]
    fn the_whole_file_is_requested_once_after_two_failures() {
        use Ask::{Rest, Whole};
        for failure in [&STALLED, &FAILED] {
            assert_eq!(requests(&[failure; 5]), [Rest, Rest, Whole, Rest, Rest]);
        }
        assert_eq!(requests(&[&STALLED, &FAILED, &UNREACHABLE, &STALLED]), [Rest, Rest, Whole, Rest]);
        assert_eq!(requests(&[&UNREACHABLE, &BUSY, &UNREACHABLE, &BUSY]), [Rest; 4]);
    }

    #[test]
    fn failures_of_earlier_runs_count_as_one_or_as_two_if_there_are_no_retries() {
        for (failures, retries, ask) in
            [(0, 0, Ask::Rest), (1, 0, Ask::Rest), (2, 0, Ask::Whole), (9, 0, Ask::Whole), (9, 1, Ask::Rest)]
        {
            assert_eq!(ResumePolicy::after(failures, 0, retries).next_request(), ask, "{failures} {retries}");
        }
        let mut policy = ResumePolicy::after(9, 0, 1);
        policy.request_failed(&FAILED);
        assert_eq!((policy.next_request(), policy.counts()), (Ask::Whole, (0, 0)));
    }

    #[test]
    fn unusable_responses_are_counted_across_runs() {
        for (unusable, retries, ask, keeps_part) in [
            (1, 0, Ask::Whole, true),
            (2, 0, Ask::Whole, false),
            (3, 0, Ask::StartOver, true),
            (1, 1, Ask::Rest, true),
            (2, 1, Ask::Rest, false),
            (3, 1, Ask::StartOver, true),
        ] {
            let mut policy = ResumePolicy::after(0, unusable, retries);
            assert_eq!(
                (policy.next_request(), policy.keeps_part_for_whole()),
                (ask, keeps_part),
                "{unusable} {retries}"
            );
        }
    }

    #[test]
    fn only_the_third_unusable_response_in_a_row_discards_the_part() {
        use Ask::{Rest, StartOver, Whole};
        assert_eq!(requests(&[&UNUSABLE; 5]), [Rest, Whole, Rest, StartOver, Whole]);
        let mut policy = ResumePolicy::default();
        let mut kept = Vec::new();
        for _ in 0..3 {
            kept.push(policy.keeps_part_for_whole());
            policy.whole_failed();
        }
        assert_eq!(kept, [true, true, false]);
        policy.part_grew();
        assert_eq!((policy.next_request(), policy.keeps_part_for_whole()), (Rest, true));
        policy.give_up_part();
        assert_eq!(policy.next_request(), StartOver);
    }
}
