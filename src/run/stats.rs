//! The counters of a run, which can be read at any time, even after it ends.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::outcome::{FailureNote, Finished, Outcome, SkipReason, Summary};
use crate::options::Mode;
use crate::plan::Download;

/// How many failures of each kind a summary lists; the rest are only counted.
const MAX_LISTED: usize = 10;

/// The counters of one run. Its downloads are counted one at a time, so that every snapshot is consistent.
#[derive(Debug)]
pub struct RunStats {
    started: Instant,
    summary: Mutex<Summary>,
}

impl RunStats {
    pub(super) fn new(total: usize, mode: Mode, is_list_open: bool) -> Self {
        let summary = Summary { total, mode, is_list_open, ..Summary::default() };
        Self { started: Instant::now(), summary: Mutex::new(summary) }
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

    /// Counts a download that was added to the plan.
    pub(super) fn count_added(&self) {
        self.summary().total += 1;
    }

    /// Counts something in the list that is no valid entry. It would have been the download at this position.
    pub(super) fn count_invalid(&self, id: usize, place: u32, problem: &str) {
        let mut summary = self.summary();
        summary.total += 1;
        summary.failed_permanently += 1;
        list_failure(&mut summary.failures, id, place, false, || (None, problem.to_owned()));
    }

    /// Records that the list has ended: the total is final. Returns whether that was not known.
    pub(super) fn end_list(&self) -> bool {
        let elapsed = self.elapsed();
        let mut summary = self.summary();
        let was_open = std::mem::take(&mut summary.is_list_open);
        if was_open {
            summary.list_time = elapsed;
        }
        was_open
    }

    pub(super) fn count(&self, download: &Download, finished: &Finished) {
        let elapsed = self.elapsed();
        let mut summary = self.summary();
        summary.transferred += finished.transferred;
        summary.total_download_time += finished.own_time + finished.helper_time;
        summary.longest = summary.longest.max(finished.own_time);
        match &finished.outcome {
            Outcome::Fetched(file) => {
                summary.fetched += 1;
                summary.last_fetched = elapsed;
                summary.bytes += file.bytes;
                summary.unchecked += usize::from(!file.framing.detects_truncation());
                summary.encoded += usize::from(file.content_encoding.is_some());
            }
            Outcome::Skipped(SkipReason::Exists) => summary.skipped += 1,
            Outcome::Skipped(SkipReason::SameSource) => summary.same_source += 1,
            Outcome::Skipped(SkipReason::Unchanged) => summary.unchanged += 1,
            Outcome::Failed(failure) => {
                summary.failed_time += finished.own_time;
                let describe = || (Some(download.url().to_string()), failure.chain());
                let (id, place) = (download.id(), download.place());
                list_failure(&mut summary.failures, id, place, failure.is_temporary(), describe);
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

/// Lists a failure in list order, if it is among the first of its kind. `describe` returns its URL and the reason.
fn list_failure(
    failures: &mut Vec<FailureNote>,
    id: usize,
    place: u32,
    is_temporary: bool,
    describe: impl FnOnce() -> (Option<String>, String),
) {
    let is_same_kind = |note: &FailureNote| note.is_temporary == is_temporary;
    // What is no entry has the position of the download after it, but comes before that.
    let is_later = |note: &FailureNote| (note.id, note.place) > (id, place);
    if failures.iter().filter(|note| is_same_kind(note)).count() >= MAX_LISTED {
        match failures.iter().rposition(is_same_kind).filter(|last| is_later(&failures[*last])) {
            Some(last) => drop(failures.remove(last)),
            None => return,
        }
    }
    let position = failures.partition_point(|note| !is_later(note));
    let (url, reason) = describe();
    failures.insert(position, FailureNote { id, place, url, reason, is_temporary });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::http::Framing;
    use crate::plan::{Plan, SafeName};
    use crate::run::outcome::Fetched;
    use crate::url::WebUrl;

    fn finished(outcome: Outcome, milliseconds: u64) -> Finished {
        let own_time = Duration::from_millis(milliseconds);
        Finished { outcome, other_target: None, attempts: 1, transferred: 2, own_time, helper_time: Duration::ZERO }
    }

    fn failed(code: u16) -> Outcome {
        Outcome::Failed(Error::Status { code, reason: "", retry_after: None })
    }

    #[test]
    fn the_failures_of_each_kind_that_come_first_in_the_list_are_listed_in_its_order() {
        let plan = Plan::new((0..40).map(|number| WebUrl::parse(&format!("http://h/{number}")).unwrap()), |_| false);
        let stats = RunStats::new(40, Mode::Concurrent, false);
        for id in (0..40).rev() {
            let code = if id % 2 == 0 { 404 } else { 503 };
            stats.count(&plan[id], &finished(failed(code), 0));
        }
        let summary = stats.snapshot();
        let listed: Vec<_> = summary.failures.iter().map(|note| (note.id, note.is_temporary)).collect();
        assert_eq!(listed, (0..20).map(|id| (id, id % 2 == 1)).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_entry_fails_permanently_and_is_listed_where_it_was() {
        let plan = Plan::default();
        let stats = RunStats::new(0, Mode::Concurrent, true);
        stats.count_invalid(0, 1, "bad");
        for place in [2, 4] {
            let entry = crate::plan::Entry::from(WebUrl::parse(&format!("http://h/{place}")).unwrap());
            plan.add(entry.with_place(place), |_| false).unwrap();
            stats.count_added();
        }
        stats.count(&plan[1], &finished(failed(404), 0));
        stats.count_invalid(1, 3, "worse");
        stats.count(&plan[0], &finished(failed(404), 0));
        let summary = stats.snapshot();
        let listed: Vec<_> = summary.failures.iter().map(|note| (note.place, note.url.as_deref())).collect();
        assert_eq!(listed, [(1, None), (2, Some("http://h/2")), (3, None), (4, Some("http://h/4"))]);
        assert_eq!((summary.total, summary.failed_permanently, summary.cancelled()), (4, 4, 0));
        assert!(summary.is_list_open);
        assert!(stats.end_list() && !stats.end_list());
        assert!(!stats.snapshot().is_list_open);
    }

    #[test]
    fn counters_are_exact_with_many_threads() {
        const THREADS: usize = 64;
        const ROUNDS: usize = 500;
        let stats = RunStats::new(THREADS * ROUNDS * 6, Mode::Concurrent, false);
        let plan = Plan::new([WebUrl::parse("http://h/x").unwrap()], |_| false);
        let count = |outcome, milliseconds| stats.count(&plan[0], &finished(outcome, milliseconds));
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
                        count(Outcome::Skipped(SkipReason::SameSource), 0);
                        count(Outcome::Skipped(SkipReason::Unchanged), 0);
                        count(failed(404), 0);
                        count(failed(503), 0);
                    }
                });
            }
        });
        let all = THREADS * ROUNDS;
        let summary = stats.snapshot();
        assert_eq!((summary.fetched, summary.skipped, summary.same_source), (all, all, all));
        assert_eq!((summary.unchanged, summary.existing()), (all, 3 * all));
        assert_eq!((summary.bytes, summary.transferred), (3 * all as u64, 12 * all as u64));
        assert_eq!((summary.failed_permanently, summary.failed_temporarily, summary.unchecked), (all, all, all / 2));
        assert_eq!(summary.total_download_time, Duration::from_millis((all * (all - 1) / 2) as u64));
        assert_eq!(summary.longest, Duration::from_millis(all as u64 - 1));
        assert_eq!((summary.cancelled(), summary.failures.len()), (0, 2 * MAX_LISTED));
    }
}
