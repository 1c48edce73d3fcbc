//! The counters of a run, which can be read at any time, even after it ends.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::outcome::{FailureNote, Finished, Outcome, SkipReason, Summary};
use crate::options::Mode;
use crate::url::WebUrl;

/// How many failures a summary lists; the rest are only counted.
const MAX_LISTED: usize = 10;

/// The counters of one run. Its downloads are counted one at a time, so that every snapshot is consistent.
#[derive(Debug)]
pub struct RunStats {
    started: Instant,
    summary: Mutex<Summary>,
}

impl RunStats {
    pub(super) fn new(total: usize, mode: Mode) -> Self {
        Self { started: Instant::now(), summary: Mutex::new(Summary { total, mode, ..Summary::default() }) }
    }

    /// The results so far.
    #[must_use]
    pub fn snapshot(&self) -> Summary {
        Summary { elapsed: self.elapsed(), ..self.summary().clone() }
    }

    /// The time since the run began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn count_thread(&self) {
        self.summary().threads += 1;
    }

    pub(super) fn count(&self, url: &WebUrl, finished: &Finished) {
        let mut summary = self.summary();
        summary.transferred += finished.transferred;
        summary.total_download_time += finished.own_time + finished.helper_time;
        summary.longest = summary.longest.max(finished.own_time);
        match &finished.outcome {
            Outcome::Fetched(file) => {
                summary.fetched += 1;
                summary.bytes += file.bytes;
                summary.unchecked += usize::from(!file.framing.detects_truncation());
                summary.encoded += usize::from(file.content_encoding.is_some());
            }
            Outcome::Skipped(SkipReason::Exists) => summary.skipped += 1,
            Outcome::Skipped(SkipReason::Unchanged) => summary.unchanged += 1,
            Outcome::Failed(failure) => {
                if summary.failures.len() < MAX_LISTED {
                    summary.failures.push(FailureNote { url: url.to_string(), reason: failure.chain() });
                }
                if failure.is_temporary() {
                    summary.failed_temporarily += 1;
                } else {
                    summary.failed_permanently += 1;
                }
            }
            Outcome::Cancelled => {}
        }
    }

    fn summary(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::http::Framing;
    use crate::plan::SafeName;
    use crate::run::outcome::Fetched;

    #[test]
    fn counters_are_exact_with_many_threads() {
        const THREADS: usize = 64;
        const ROUNDS: usize = 500;
        let stats = RunStats::new(THREADS * ROUNDS * 5, Mode::Concurrent);
        let url = WebUrl::parse("http://h/x").unwrap();
        let count = |outcome, milliseconds| {
            stats.count(
                &url,
                &Finished {
                    outcome,
                    attempts: 1,
                    transferred: 2,
                    own_time: Duration::from_millis(milliseconds),
                    helper_time: Duration::ZERO,
                },
            );
        };
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let file = Fetched {
                            target: SafeName::from_user("x").unwrap().into(),
                            path: "x".into(),
                            bytes: 3,
                            status: 200,
                            content_encoding: None,
                            framing: if round % 2 == 0 { Framing::Close } else { Framing::Length(3) },
                        };
                        count(Outcome::Fetched(file), (thread * ROUNDS + round) as u64);
                        count(Outcome::Skipped(SkipReason::Exists), 0);
                        count(Outcome::Skipped(SkipReason::Unchanged), 0);
                        count(Outcome::Failed(Error::Status { code: 404, reason: "", retry_after: None }), 0);
                        count(Outcome::Failed(Error::Status { code: 503, reason: "", retry_after: None }), 0);
                    }
                });
            }
        });
        let all = THREADS * ROUNDS;
        let summary = stats.snapshot();
        assert_eq!((summary.fetched, summary.skipped, summary.unchanged), (all, all, all));
        assert_eq!((summary.bytes, summary.transferred), (3 * all as u64, 10 * all as u64));
        assert_eq!((summary.failed_permanently, summary.failed_temporarily, summary.unchecked), (all, all, all / 2));
        assert_eq!(summary.total_download_time, Duration::from_millis((all * (all - 1) / 2) as u64));
        assert_eq!(summary.longest, Duration::from_millis(all as u64 - 1));
        assert_eq!((summary.cancelled(), summary.failures.len()), (0, MAX_LISTED));
    }
}
