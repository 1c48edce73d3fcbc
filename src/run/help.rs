//! Several connections for one download: which downloads want help, and what a thread does that gives it.
//!
//! The thread that began a download offers it here, once it knows a validator that proves parts to be of the same
//! file. Whoever has nothing to start takes a part: one that is free, or the second half of what takes longest. A server
//! that answers with anything but that part is not asked for one again; one that fails for now is left alone for a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::body;
use super::context::{Context, Worker};
use super::event::{Event, Progress};
use crate::error::Failure;
use crate::http::{Resume, Validator};
use crate::part::{Filling, Share};
use crate::plan::Download;

/// How long nobody helps after a failure for now; twice as long after each further one.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// The longest that nobody helps.
const LEFT_ALONE_LONGEST: Duration = Duration::from_secs(60);

/// A running download, as those see it who get parts of it.
#[derive(Debug)]
pub struct Job {
    /// Its number in the plan.
    pub id: usize,
    pub filling: Arc<Filling>,
    pub validator: Validator,
    pub length: u64,
    pub progress: Arc<Progress>,
    pub standing: Arc<Standing>,
}

/// A part of a download for a thread to get. Dropped, it leaves what is missing of it to others.
#[derive(Debug)]
pub struct Help {
    pub job: Arc<Job>,
    share: Share,
    from: u64,
    begun: Instant,
}

/// How helping with one download has gone so far, in all its attempts.
#[derive(Debug, Default)]
pub struct Standing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Threads that are helping.
    helpers: usize,
    /// Whether the server has given a part as it should.
    is_proven: bool,
    /// Whether it gave something else.
    is_refused: bool,
    failures_in_a_row: u32,
    left_alone_until: Option<Instant>,
    helped: Duration,
    waited: Duration,
}

/// The running downloads that may be helped.
#[derive(Debug, Default)]
pub struct Board(Mutex<Vec<Arc<Job>>>);

/// A download on the board, until this is dropped.
#[derive(Debug)]
pub struct Offer<'a> {
    board: &'a Board,
    job: Arc<Job>,
}

impl Board {
    /// Offers a download to those who have nothing else to do.
    pub fn offer(&self, job: &Arc<Job>) -> Offer<'_> {
        self.jobs().push(Arc::clone(job));
        Offer { board: self, job: Arc::clone(job) }
    }

    /// The download that takes longest of those that want help, and that `may` have it.
    pub fn neediest(&self, may: impl Fn(usize) -> bool) -> Option<Arc<Job>> {
        let jobs = self.jobs();
        let times = jobs.iter().filter(|job| may(job.id)).filter_map(|job| Some((job.longest()?, job)));
        times.max_by_key(|(time, _)| *time).map(|(_, job)| Arc::clone(job))
    }

    fn jobs(&self) -> MutexGuard<'_, Vec<Arc<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        self.board.jobs().retain(|job| !Arc::ptr_eq(job, &self.job));
    }
}

impl Job {
    /// How long the slowest of its threads will take, if help is wanted.
    fn longest(&self) -> Option<Duration> {
        let may = self.standing.state().may_be_helped(Instant::now());
        may.then(|| self.filling.longest()).flatten()
    }

    /// Takes a part to help with: one that is free, or half of what takes longest.
    pub fn take(self: &Arc<Self>) -> Option<Help> {
        let now = Instant::now();
        let mut state = self.standing.state();
        let share = if state.may_be_helped(now) { self.filling.help() } else { None }?;
        state.helpers += 1;
        Some(Help { job: Arc::clone(self), from: share.from(), share, begun: now })
    }

    /// What the download's own thread does next: a part that is free; or, if the work is shared, half of what takes
    /// longest.
    pub fn take_own(&self, is_shared: bool) -> Option<Share> {
        let may_split = is_shared && self.standing.state().may_be_helped(Instant::now());
        if may_split { self.filling.help() } else { self.filling.take() }
    }

    /// Gets a part.
    pub fn get(
        &self,
        share: &Share,
        download: &Download,
        context: &Context<'_>,
        worker: &mut Worker<'_>,
    ) -> Result<(), Failure> {
        let (from, to) = (share.from(), share.to());
        let part = Resume { from, to, validator: &self.validator, length: Some(self.length) };
        let mut answer = worker.client.get_part(&download.url, part)?;
        self.standing.state().is_proven = true;
        if !share.answered(answer.reach()) {
            return Ok(());
        }
        let result = body::receive(&mut answer, share, &mut worker.buffer, &self.progress, context);
        if let Err(Failure::Range(_)) = result {
            self.progress.take_back(share.disown());
        }
        result
    }
}

impl Help {
    /// Gets the part.
    pub fn carry_out(&self, context: &Context<'_>, worker: &mut Worker<'_>) -> Result<(), Failure> {
        let download = &context.plan.downloads()[self.job.id];
        context.reporter.event(&Event::Helped(download, self.from));
        self.job.get(&self.share, download, context, worker)
    }

    /// Takes note of how it went; what is missing is for others.
    pub fn end(self, result: &Result<(), Failure>) {
        let Self { job, share, from, begun } = self;
        let has_gained = share.from() > from;
        drop(share);
        let now = Instant::now();
        let mut state = job.standing.state();
        state.helpers -= 1;
        state.helped += now - begun;
        if has_gained {
            state.failures_in_a_row = 0;
        }
        state.ended(result, now);
    }
}

impl Standing {
    /// Takes note of how the download's own thread fared.
    pub fn ended(&self, result: &Result<(), Failure>) {
        self.state().ended(result, Instant::now());
    }

    /// The download's own thread waited for others.
    pub fn waited(&self, time: Duration) {
        self.state().waited += time;
    }

    /// The time that others spent on the download, less that which its own thread waited for them.
    pub fn helpers_time(&self) -> Duration {
        let state = self.state();
        state.helped.saturating_sub(state.waited)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Until a server has shown that it gives parts, one at a time is asked for.
    fn may_be_helped(&self, now: Instant) -> bool {
        !self.is_refused
            && self.left_alone_until.is_none_or(|until| until <= now)
            && (self.is_proven || self.helpers == 0)
    }

    fn ended(&mut self, result: &Result<(), Failure>, now: Instant) {
        match result {
            Ok(()) => self.failures_in_a_row = 0,
            Err(failure) if failure.is_temporary() && !matches!(failure, Failure::Range(_)) => {
                let wait = LEFT_ALONE.saturating_mul(1 << self.failures_in_a_row.min(16)).min(LEFT_ALONE_LONGEST);
                self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
                self.left_alone_until = Some(now + wait);
            }
            Err(_) => self.is_refused = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_for_one_part_before_it_is_asked_for_more() {
        let now = Instant::now();
        let mut state = State::default();
        assert!(state.may_be_helped(now));
        state.helpers = 1;
        assert!(!state.may_be_helped(now));
        state.is_proven = true;
        assert!(state.may_be_helped(now));
        state.ended(&Err(Failure::Range("it is the whole file")), now);
        assert!(!state.may_be_helped(now + LEFT_ALONE_LONGEST), "it gives none");
    }

    #[test]
    fn after_a_failure_for_now_nobody_helps_for_a_while() {
        let now = Instant::now();
        let mut state = State::default();
        let failure = || Err(Failure::Status { code: 503, reason: "", retry_after: None });
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            state.ended(&failure(), now);
            assert!(!state.may_be_helped(now + Duration::from_secs(seconds) - Duration::from_millis(1)));
            assert!(state.may_be_helped(now + Duration::from_secs(seconds)));
        }
        state.ended(&Ok(()), now);
        state.ended(&failure(), now);
        assert!(state.may_be_helped(now + LEFT_ALONE));
    }
}
