//! What others may read of a run and ask of it while it goes: its counters, and that it end.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::event::{Event, Reporter};
use super::outcome::{FailureNote, Finished, Outcome, Skip, Summary};
use crate::options::{Limits, Mode};
use crate::url::WebUrl;

/// The failures that a summary tells in full; of the others it tells how many.
const TOLD: usize = 10;

/// The counters of one run, which any number of threads may add to, and the wish that it end.
#[derive(Debug, Default)]
pub struct Control {
    cancelled: AtomicBool,
    start: OnceLock<Start>,
    fetched: AtomicUsize,
    skipped: AtomicUsize,
    unchanged: AtomicUsize,
    failed_permanently: AtomicUsize,
    failed_temporarily: AtomicUsize,
    unchecked: AtomicUsize,
    encoded: AtomicUsize,
    bytes: AtomicU64,
    transferred: AtomicU64,
    own_nanoseconds: AtomicU64,
    longest_nanoseconds: AtomicU64,
    threads: AtomicUsize,
    failures: Mutex<Vec<FailureNote>>,
    warned_of_no_locks: AtomicBool,
    warned_of_renames: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct Start {
    at: Instant,
    total: usize,
    mode: Mode,
    max_time: Option<Duration>,
}

impl Control {
    /// Asks the run to end: nothing new starts, and what runs ends at its next byte.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether the run was asked to end, or its time is over.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) || self.is_out_of_time()
    }

    /// Whether the time that the run may take is over.
    #[must_use]
    pub fn is_out_of_time(&self) -> bool {
        self.start.get().is_some_and(|start| start.max_time.is_some_and(|time| start.at.elapsed() >= time))
    }

    /// What the run has come to by now.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let start = self.start.get();
        Summary {
            total: start.map_or(0, |start| start.total),
            fetched: self.fetched.load(Ordering::Relaxed),
            skipped: self.skipped.load(Ordering::Relaxed),
            unchanged: self.unchanged.load(Ordering::Relaxed),
            failed_permanently: self.failed_permanently.load(Ordering::Relaxed),
            failed_temporarily: self.failed_temporarily.load(Ordering::Relaxed),
            unchecked: self.unchecked.load(Ordering::Relaxed),
            encoded: self.encoded.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            transferred: self.transferred.load(Ordering::Relaxed),
            elapsed: start.map_or(Duration::ZERO, |start| start.at.elapsed()),
            own_times: Duration::from_nanos(self.own_nanoseconds.load(Ordering::Relaxed)),
            longest: Duration::from_nanos(self.longest_nanoseconds.load(Ordering::Relaxed)),
            mode: start.map_or(Mode::Concurrent, |start| start.mode),
            threads: self.threads.load(Ordering::Relaxed),
            failures: self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// The clock starts. A control is for one run; a second start changes nothing.
    pub(super) fn start(&self, total: usize, limits: &Limits) {
        let (mode, max_time) = (limits.mode, limits.max_time);
        let _ = self.start.set(Start { at: Instant::now(), total, mode, max_time });
    }

    /// A thread begins to run transfers.
    pub(super) fn count_thread(&self) {
        self.threads.fetch_add(1, Ordering::Relaxed);
    }

    /// Warns, once in a run, that two processes could write to one file here.
    pub(super) fn warn_of_no_locks(&self, reporter: &dyn Reporter) {
        if !self.warned_of_no_locks.swap(true, Ordering::Relaxed) {
            let warning = "the file system has no locks: run no other tdl in this directory meanwhile";
            reporter.event(&Event::Warning(warning));
        }
    }

    /// Warns, once in a run, that a file which appears under a final name meanwhile may be replaced here.
    pub(super) fn warn_of_renames(&self, reporter: &dyn Reporter) {
        if !self.warned_of_renames.swap(true, Ordering::Relaxed) {
            let warning = "the file system can neither link a file nor rename it without replacing another: \
                           let nothing else write to this directory meanwhile";
            reporter.event(&Event::Warning(warning));
        }
    }

    /// Counts a download that has ended.
    pub(super) fn count(&self, url: &WebUrl, finished: &Finished) {
        let of = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let nanoseconds = of(finished.own_time);
        self.transferred.fetch_add(finished.transferred, Ordering::Relaxed);
        self.own_nanoseconds.fetch_add(nanoseconds + of(finished.helper_time), Ordering::Relaxed);
        self.longest_nanoseconds.fetch_max(nanoseconds, Ordering::Relaxed);
        match &finished.outcome {
            Outcome::Fetched(file) => {
                self.fetched.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(file.bytes, Ordering::Relaxed);
                self.unchecked.fetch_add(usize::from(!file.framing.detects_truncation()), Ordering::Relaxed);
                self.encoded.fetch_add(usize::from(file.content_encoding.is_some()), Ordering::Relaxed);
            }
            Outcome::Skipped(Skip::Exists) => {
                self.skipped.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Skipped(Skip::Unchanged) => {
                self.unchanged.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Failed(failure) => {
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                if failures.len() < TOLD {
                    failures.push(FailureNote { url: url.to_string(), why: failure.chain() });
                }
                let counter = if failure.is_temporary() { &self.failed_temporarily } else { &self.failed_permanently };
                counter.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Cancelled => {}
        }
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
        let control = Control::default();
        control.start(THREADS * ROUNDS * 5, &Limits::default());
        let url = WebUrl::parse("http://h/x").unwrap();
        let count = |outcome, milliseconds| {
            control.count(
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
                            name: SafeName::chosen("x").unwrap(),
                            path: "x".into(),
                            bytes: 3,
                            status: 200,
                            content_encoding: None,
                            framing: if round % 2 == 0 { Framing::Close } else { Framing::Length(3) },
                        };
                        count(Outcome::Fetched(file), (thread * ROUNDS + round) as u64);
                        count(Outcome::Skipped(Skip::Exists), 0);
                        count(Outcome::Skipped(Skip::Unchanged), 0);
                        count(Outcome::Failed(Error::Status { code: 404, reason: "", retry_after: None }), 0);
                        count(Outcome::Failed(Error::Status { code: 503, reason: "", retry_after: None }), 0);
                    }
                });
            }
        });
        let all = THREADS * ROUNDS;
        let summary = control.summary();
        assert_eq!((summary.fetched, summary.skipped, summary.unchanged), (all, all, all));
        assert_eq!((summary.bytes, summary.transferred), (3 * all as u64, 10 * all as u64));
        assert_eq!((summary.failed_permanently, summary.failed_temporarily, summary.unchecked), (all, all, all / 2));
        assert_eq!(summary.own_times, Duration::from_millis((all * (all - 1) / 2) as u64));
        assert_eq!(summary.longest, Duration::from_millis(all as u64 - 1));
        assert_eq!((summary.cancelled(), summary.failures.len()), (0, TOLD));
    }
}
