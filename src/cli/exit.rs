//! Maps results to exit codes. Nothing else does.

use crate::measure::Comparison;
use crate::report::{TerminalReporter, write_error};
use crate::run::Summary;

/// The result of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every file was fetched or was already there.
    Success,
    /// At least one download failed permanently.
    Failed,
    /// The command line or a list is invalid, or the output directory is not writable. Nothing was started.
    NotStarted,
    /// Some downloads failed, all of them temporarily: the same command may succeed later.
    Temporary,
    /// A signal with this number ended the run.
    Interrupted(u8),
}

impl Exit {
    /// Returns the exit code. 75 is `EX_TEMPFAIL` of sysexits.h; 128 plus the signal's number is the convention of
    /// shells.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::NotStarted => 2,
            Self::Temporary => 75,
            Self::Interrupted(signal) => 128 + signal,
        }
    }

    /// Returns the exit after a run. If it was stopped before it had its whole list, that is at least a temporary failure.
    pub const fn from_summary(summary: &Summary) -> Self {
        Self::from_counts(summary.failed_permanently, summary.failed_temporarily + summary.is_list_open as usize)
    }

    /// Returns the exit after a comparison. Files that differ count as permanent failures.
    pub const fn from_comparison(comparison: &Comparison) -> Self {
        let (first, second) = (&comparison.sequential, &comparison.concurrent);
        let permanent = first.failed_permanently + second.failed_permanently + comparison.differing.len();
        Self::from_counts(permanent, first.failed_temporarily + second.failed_temporarily)
    }

    /// Returns the exit after a comparison that stopped in its first run. That run's files are discarded, so this is at
    /// least a temporary failure.
    pub const fn from_unfinished_comparison(first: &Summary) -> Self {
        let temporary = if first.failed_temporarily == 0 { 1 } else { first.failed_temporarily };
        Self::from_counts(first.failed_permanently, temporary)
    }

    const fn from_counts(failed_permanently: usize, failed_temporarily: usize) -> Self {
        match (failed_permanently, failed_temporarily) {
            (0, 0) => Self::Success,
            (0, _) => Self::Temporary,
            _ => Self::Failed,
        }
    }

    /// Returns a failure, and reports it, if the result could not be written to standard output.
    pub fn check_output(self, reporter: &TerminalReporter) -> Self {
        match reporter.output_error() {
            None => self,
            Some(error) => {
                write_error(&format!("cannot write to standard output: {error}"));
                Self::Failed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        for (permanent, temporary, code) in [(0, 0, 0), (1, 0, 1), (1, 1, 1), (0, 3, 75)] {
            assert_eq!(Exit::from_counts(permanent, temporary).code(), code);
        }
        assert_eq!(Exit::NotStarted.code(), 2);
        for (signal, code) in [(1, 129), (2, 130), (15, 143)] {
            assert_eq!(Exit::Interrupted(signal).code(), code);
        }
    }
}
