//! Decides what to request when some of a file has already been received. Pure.
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

/// The results of the attempts since the part file last grew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResumePolicy {
    failures: u32,
    unusable: u32,
    requested_whole: bool,
}

/// What to request. In each case the part is kept until there is a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumeRequest {
    /// What is missing.
    Rest,
    /// The whole file, to be received alongside the part file.
    Whole,
    /// The whole file, in place of the part file.
    StartOver,
}

impl ResumePolicy {
    /// The policy for a run that finds a part file of an earlier one, with the [counts](Self::counts) that it recorded.
    ///
    /// The server may have recovered. So if this run can retry, it requests the rest first and counts all earlier
    /// failures as one.
    pub fn after(failures: u32, unusable: u32, retries: u32) -> Self {
        let is_only_attempt = retries == 0;
        let max_failures = if is_only_attempt { MAX_FAILURES } else { MAX_FAILURES - 1 };
        Self { failures: failures.min(max_failures), unusable, requested_whole: unusable > 0 && !is_only_attempt }
    }

    /// Requests for the rest that have failed in a row, and unusable responses in a row: what a later run must know.
    pub const fn counts(&self) -> (u32, u32) {
        (self.failures, self.unusable)
    }

    /// What the next attempt requests.
    pub const fn choose_request(&mut self) -> ResumeRequest {
        if self.unusable >= MAX_UNUSABLE {
            *self = Self { failures: 0, unusable: 0, requested_whole: false };
            return ResumeRequest::StartOver;
        }
        if !self.requested_whole && (self.unusable > 0 || self.failures >= MAX_FAILURES) {
            (self.requested_whole, self.failures) = (true, 0);
            return ResumeRequest::Whole;
        }
        ResumeRequest::Rest
    }

    /// Whether to receive a whole file alongside the part file, rather than in place of it.
    pub const fn keeps_part_for_whole(&self) -> bool {
        self.unusable + 1 < MAX_UNUSABLE
    }

    /// Records that the part file grew.
    pub fn part_grew(&mut self) {
        *self = Self::default();
    }

    /// Records an attempt that failed and left the part file as it was.
    pub const fn request_failed(&mut self, failure: &Error) {
        match failure {
            Error::Range(_) => self.unusable += 1,
            Error::Status { code, .. } if *code != 429 => self.failures += 1,
            Error::Broken { .. }
            | Error::Truncated { .. }
            | Error::NoResponse(_)
            | Error::Stalled(_)
            | Error::Protocol(_) => {
                self.failures += 1;
            }
            // It says nothing about how the server responds to a range.
            _ => {}
        }
    }

    /// Records that receiving the whole file failed.
    pub const fn whole_failed(&mut self) {
        self.unusable += 1;
    }

    /// Records that the disk has no space for the whole file alongside the part file.
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
    fn requests(failures: &[&Error]) -> Vec<ResumeRequest> {
        let mut policy = ResumePolicy::default();
        let kind = |failure: &&Error| {
            let kind = policy.choose_request();
            policy.request_failed(failure);
            kind
        };
        failures.iter().map(kind).collect()
    }

    #[test]
    fn the_whole_file_is_requested_once_after_two_failures() {
        use ResumeRequest::{Rest, Whole};
        for failure in [&STALLED, &FAILED] {
            assert_eq!(requests(&[failure; 5]), [Rest, Rest, Whole, Rest, Rest]);
        }
        assert_eq!(requests(&[&STALLED, &FAILED, &UNREACHABLE, &STALLED]), [Rest, Rest, Whole, Rest]);
        assert_eq!(requests(&[&UNREACHABLE, &BUSY, &UNREACHABLE, &BUSY]), [Rest; 4]);
    }

    #[test]
    fn failures_of_earlier_runs_count_as_one_or_as_two_if_there_are_no_retries() {
        for (failures, retries, kind) in [
            (0, 0, ResumeRequest::Rest),
            (1, 0, ResumeRequest::Rest),
            (2, 0, ResumeRequest::Whole),
            (9, 0, ResumeRequest::Whole),
            (9, 1, ResumeRequest::Rest),
        ] {
            assert_eq!(ResumePolicy::after(failures, 0, retries).choose_request(), kind, "{failures} {retries}");
        }
        let mut policy = ResumePolicy::after(9, 0, 1);
        policy.request_failed(&FAILED);
        assert_eq!((policy.choose_request(), policy.counts()), (ResumeRequest::Whole, (0, 0)));
    }

    #[test]
    fn unusable_responses_are_counted_across_runs() {
        for (unusable, retries, kind, keeps_part) in [
            (1, 0, ResumeRequest::Whole, true),
            (2, 0, ResumeRequest::Whole, false),
            (3, 0, ResumeRequest::StartOver, true),
            (1, 1, ResumeRequest::Rest, true),
            (2, 1, ResumeRequest::Rest, false),
            (3, 1, ResumeRequest::StartOver, true),
        ] {
            let mut policy = ResumePolicy::after(0, unusable, retries);
            assert_eq!(
                (policy.choose_request(), policy.keeps_part_for_whole()),
                (kind, keeps_part),
                "{unusable} {retries}"
            );
        }
    }

    #[test]
    fn only_the_third_unusable_response_in_a_row_discards_the_part() {
        use ResumeRequest::{Rest, StartOver, Whole};
        assert_eq!(requests(&[&UNUSABLE; 5]), [Rest, Whole, Rest, StartOver, Whole]);
        let mut policy = ResumePolicy::default();
        let mut kept = Vec::new();
        for _ in 0..3 {
            kept.push(policy.keeps_part_for_whole());
            policy.whole_failed();
        }
        assert_eq!(kept, [true, true, false]);
        policy.part_grew();
        assert_eq!((policy.choose_request(), policy.keeps_part_for_whole()), (Rest, true));
        policy.give_up_part();
        assert_eq!(policy.choose_request(), StartOver);
    }
}
