//! One download over all of its attempts: what is remembered between them, and what follows a failure.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attempt::run_attempt;
use super::event::{Event, Progress};
use super::outcome::{Finished, Outcome, Unfinished};
use super::resume_policy::ResumePolicy;
use super::retry::{self, History, Verdict};
use super::session::{Session, Worker};
use super::split::SplitBackoff;
use crate::error::Error;
use crate::plan::{Download, Source};
use crate::url::WebUrl;

/// A download that has not finished.
#[derive(Debug)]
pub struct Transfer<'a> {
    pub download: &'a Download,
    pub progress: Arc<Progress>,
    pub resume_policy: ResumePolicy,
    pub split_backoff: Arc<SplitBackoff>,
    /// The URL that redirects led to when the part file was received. It is asked first when resuming.
    pub effective_url: Option<WebUrl>,
    pub attempts: u32,
    /// Which of the download's sources is in use.
    source: usize,
    history: History,
    own_time: Duration,
}

/// How far a transfer came without waiting.
#[derive(Debug)]
pub enum Step<T> {
    Finished(Finished),
    /// It failed temporarily. The caller does the waiting.
    Retry {
        transfer: T,
        wait: Duration,
        failure: Error,
    },
}

impl<'a> Transfer<'a> {
    pub fn new(download: &'a Download) -> Self {
        Self {
            download,
            progress: Arc::default(),
            resume_policy: ResumePolicy::default(),
            split_backoff: Arc::default(),
            effective_url: None,
            attempts: 0,
            source: 0,
            history: History::default(),
            own_time: Duration::ZERO,
        }
    }

    /// The source in use.
    pub fn source(&self) -> &'a Source {
        &self.download.sources()[self.source]
    }

    /// Makes one attempt, and decides what follows. A panic is a failure of this download alone.
    pub fn step(self, session: &Session<'_>, worker: &mut Worker<'_>) -> Step<Self> {
        catch_unwind(AssertUnwindSafe(|| self.try_step(session, worker))).unwrap_or_else(|panic| {
            let outcome = Outcome::Failed(Error::Panicked(panic_message(&*panic)));
            Step::Finished(Finished { outcome, ..not_started(session) })
        })
    }

    fn try_step(mut self, session: &Session<'_>, worker: &mut Worker<'_>) -> Step<Self> {
        if session.is_stopped() {
            return Step::Finished(self.finished(stopped(session)));
        }
        let started = Instant::now();
        let result = run_attempt(&mut self, session, worker);
        self.own_time += started.elapsed();
        match result {
            Ok(outcome) => Step::Finished(self.finished(outcome)),
            Err(Unfinished { failure: Error::Cancelled, .. }) => Step::Finished(self.finished(stopped(session))),
            Err(unfinished) => self.after_failure(unfinished, session),
        }
    }

    fn after_failure(mut self, Unfinished { failure, kept }: Unfinished, session: &Session<'_>) -> Step<Self> {
        self.progress.set_received(kept);
        self.history.record(kept);
        let has_next_source = self.source + 1 < self.download.sources().len();
        let wait = match retry::decide(session.retry, &self.history, &failure, has_next_source, fastrand::f64()) {
            Verdict::GiveUp => return Step::Finished(self.finished(Outcome::Failed(failure))),
            Verdict::NextSource => {
                self.source += 1;
                (self.history, self.resume_policy) = (History::default(), ResumePolicy::default());
                self.effective_url = None;
                Duration::ZERO
            }
            Verdict::Wait(wait) => wait,
        };
        self.own_time += wait;
        let (download, attempts) = (self.download, self.attempts);
        session.reporter.event(&Event::Retrying { download, failure: &failure, wait, attempts });
        Step::Retry { transfer: self, wait, failure }
    }

    fn finished(&self, outcome: Outcome) -> Finished {
        Finished {
            outcome,
            attempts: self.attempts,
            transferred: self.progress.transferred(),
            own_time: self.own_time,
            helper_time: self.split_backoff.helper_time(),
        }
    }
}

/// A download that was never started, because the run stopped before.
pub fn not_started(session: &Session<'_>) -> Finished {
    Finished {
        outcome: stopped(session),
        attempts: 0,
        transferred: 0,
        own_time: Duration::ZERO,
        helper_time: Duration::ZERO,
    }
}

/// Counts and reports a finished download.
pub fn report_finished(download: &Download, finished: &Finished, session: &Session<'_>) {
    session.stats.count(download.url(), finished);
    session.emit(&Event::Finished(download, finished));
}

/// Whether nothing new may start after this: the disk is full, or the user wants to stop at the first permanent failure.
pub fn stops_run(finished: &Finished, session: &Session<'_>) -> bool {
    let Outcome::Failed(failure) = &finished.outcome else { return false };
    failure.is_full_disk() || (session.limits.fail_fast && !failure.is_temporary())
}

/// The message of a panic.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}

/// What becomes of a download that a stopped run does not finish.
fn stopped(session: &Session<'_>) -> Outcome {
    if session.is_out_of_time() { Outcome::Failed(Error::OutOfTime) } else { Outcome::Cancelled }
}
