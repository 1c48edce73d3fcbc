//! How the process ends: the one place that maps what happened to an exit code.

use crate::measure::Comparison;
use crate::run::Summary;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything was fetched or rightly skipped.
    Success,
    /// At least one download failed permanently.
    Failed,
    /// The command line or a list is wrong; nothing was started.
    Usage,
    /// Some failed, all of them temporarily: the same command may succeed later.
    Temporary,
    /// A signal ended the run; its number.
    Interrupted(u8),
}

impl Exit {
    /// The exit code; 75 is `EX_TEMPFAIL` of sysexits.h, and a signal's is 128 and its number, as shells have it.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Temporary => 75,
            Self::Interrupted(signal) => 128 + signal,
        }
    }

    /// After a run.
    pub const fn of_run(summary: &Summary) -> Self {
        Self::of_counts(summary.failed_permanently, summary.failed_temporarily)
    }

    /// After a comparison. Files that differ count as permanent failures.
    pub const fn of_comparison(comparison: &Comparison) -> Self {
        let (first, second) = (&comparison.sequential, &comparison.concurrent);
        let permanent = first.failed_permanently + second.failed_permanently + comparison.differing.len();
        Self::of_counts(permanent, first.failed_temporarily + second.failed_temporarily)
    }

    /// After the first run of a comparison was cut short: whatever it fetched is gone, so it has failed at least temporarily.
    pub const fn of_unfinished_comparison(first: &Summary) -> Self {
        let temporary = if first.failed_temporarily == 0 { 1 } else { first.failed_temporarily };
        Self::of_counts(first.failed_permanently, temporary)
    }

    const fn of_counts(failed_permanently: usize, failed_temporarily: usize) -> Self {
        match (failed_permanently, failed_temporarily) {
            (0, 0) => Self::Success,
            (0, _) => Self::Temporary,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        for (permanent, temporary, code) in [(0, 0, 0), (1, 0, 1), (1, 1, 1), (0, 3, 75)] {
            assert_eq!(Exit::of_counts(permanent, temporary).code(), code);
        }
        assert_eq!(Exit::Usage.code(), 2);
        for (signal, code) in [(1, 129), (2, 130), (15, 143)] {
            assert_eq!(Exit::Interrupted(signal).code(), code);
        }
    }
}
