//! How to ask for a file of which a part is there.
//!
//! The policy, which is pure:
//!
//! - The rest is asked for, until an answer cannot be used, or two requests in a row fail at a server that can be
//!   reached. Then the whole file is asked for, once: some servers fail at every range and at nothing else. What is
//!   there is kept meanwhile, and the first of the two that is whole wins.
//! - An answer that does not continue what is there does not cost it either: it may come from another mirror, or from
//!   another version of a server. Only the third in a row starts over.
//! - Whatever makes the part grow begins all of this anew.

use crate::error::Error;

/// Answers in a row that did not continue what is there, after which it is given up.
const MAX_UNUSABLE: u32 = 3;

/// Failures in a row of requests for the rest, after which the whole is asked for.
const MAX_FAILURES: u32 = 2;

/// What has come of the attempts since the part last grew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resuming {
    failures: u32,
    unusable: u32,
    asked_for_whole: bool,
}

/// What to ask for. In each case what is there stays until an answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// What is missing.
    Rest,
    /// All of the file, to be received beside what is there.
    Whole,
    /// All of the file, to take the place of what is there.
    StartOver,
}

impl Resuming {
    /// What is known when a run begins with a part file of an earlier one.
    ///
    /// The server may have recovered, so a run that makes more than one attempt asks for the rest first, and all requests
    /// that failed before count as one.
    pub fn after(failures: u32, unusable: u32, retries: u32) -> Self {
        let is_only_attempt = retries == 0;
        let counted = if is_only_attempt { MAX_FAILURES } else { MAX_FAILURES - 1 };
        Self { failures: failures.min(counted), unusable, asked_for_whole: unusable > 0 && !is_only_attempt }
    }

    /// Requests for the rest that failed in a row since the whole was last asked for, and answers in a row that did not
    /// continue what is there.
    pub const fn counts(&self) -> (u32, u32) {
        (self.failures, self.unusable)
    }

    /// What the next attempt asks for.
    pub const fn ask(&mut self) -> Ask {
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

    /// Whether a whole file that comes now is received beside what is there, and not in its place.
    pub const fn keeps_part(&self) -> bool {
        self.unusable + 1 < MAX_UNUSABLE
    }

    /// The part grew.
    pub fn grew(&mut self) {
        *self = Self::default();
    }

    /// An attempt failed and left the part as it was.
    pub const fn failed(&mut self, failure: &Error) {
        match failure {
            Error::Range(_) => self.unusable += 1,
            Error::Status { code, .. } if *code != 429 => self.failures += 1,
            Error::Broken { .. } | Error::Truncated { .. } | Error::Stalled(_) | Error::Protocol(_) => {
                self.failures += 1;
            }
            // They say nothing of how the server answers a range.
            _ => {}
        }
    }

    /// A whole file came, and broke off.
    pub const fn whole_failed(&mut self) {
        self.unusable += 1;
    }

    /// There is no room for a whole file beside what is there.
    pub const fn give_up_part(&mut self) {
        self.unusable = MAX_UNUSABLE;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const UNUSABLE: Error = Error::Range("it begins elsewhere");
    const STALLED: Error = Error::Stalled(Duration::from_secs(1));
    const REFUSED: Error = Error::Status { code: 500, reason: "", retry_after: None };
    const BUSY: Error = Error::Status { code: 429, reason: "", retry_after: None };
    const UNREACHABLE: Error = Error::ConnectTimeout(Duration::from_secs(1));

    /// What is asked for, where each attempt fails with the next of these.
    fn asked(failures: &[&Error]) -> Vec<Ask> {
        let mut resuming = Resuming::default();
        let ask = |failure: &&Error| {
            let ask = resuming.ask();
            resuming.failed(failure);
            ask
        };
        failures.iter().map(ask).collect()
    }

    #[test]
    fn the_whole_is_asked_for_once_after_two_failures() {
        use Ask::{Rest, Whole};
        for failure in [&STALLED, &REFUSED] {
            assert_eq!(asked(&[failure; 5]), [Rest, Rest, Whole, Rest, Rest]);
        }
        assert_eq!(asked(&[&STALLED, &REFUSED, &UNREACHABLE, &STALLED]), [Rest, Rest, Whole, Rest]);
        assert_eq!(asked(&[&UNREACHABLE, &BUSY, &UNREACHABLE, &BUSY]), [Rest; 4]);
    }

    #[test]
    fn failures_of_earlier_runs_count_as_one_or_where_there_is_no_other_as_two() {
        for (failures, retries, ask) in
            [(0, 0, Ask::Rest), (1, 0, Ask::Rest), (2, 0, Ask::Whole), (9, 0, Ask::Whole), (9, 1, Ask::Rest)]
        {
            assert_eq!(Resuming::after(failures, 0, retries).ask(), ask, "{failures} {retries}");
        }
        let mut resuming = Resuming::after(9, 0, 1);
        resuming.failed(&REFUSED);
        assert_eq!((resuming.ask(), resuming.counts()), (Ask::Whole, (0, 0)));
    }

    #[test]
    fn unusable_answers_are_counted_across_runs() {
        for (unusable, retries, ask, keeps_part) in [
            (1, 0, Ask::Whole, true),
            (2, 0, Ask::Whole, false),
            (3, 0, Ask::StartOver, true),
            (1, 1, Ask::Rest, true),
            (2, 1, Ask::Rest, false),
            (3, 1, Ask::StartOver, true),
        ] {
            let mut resuming = Resuming::after(0, unusable, retries);
            assert_eq!((resuming.ask(), resuming.keeps_part()), (ask, keeps_part), "{unusable} {retries}");
        }
    }

    #[test]
    fn only_the_third_unusable_answer_in_a_row_costs_what_is_there() {
        use Ask::{Rest, StartOver, Whole};
        assert_eq!(asked(&[&UNUSABLE; 5]), [Rest, Whole, Rest, StartOver, Whole]);
        let mut resuming = Resuming::default();
        let mut kept = Vec::new();
        for _ in 0..3 {
            kept.push(resuming.keeps_part());
            resuming.whole_failed();
        }
        assert_eq!(kept, [true, true, false]);
        resuming.grew();
        assert_eq!((resuming.ask(), resuming.keeps_part()), (Rest, true));
        resuming.give_up_part();
        assert_eq!(resuming.ask(), StartOver);
    }
}
