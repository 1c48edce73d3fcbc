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
use crate::error::Error;
use crate::http::{RangeRequest, Validator};
use crate::part::{SegmentWriter, SharedPart};
use crate::plan::Download;
use crate::url::WebUrl;

/// How long nobody helps after a failure for now; twice as long after each further one.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// The longest that nobody helps.
const LEFT_ALONE_LONGEST: Duration = Duration::from_secs(60);

/// A running download, as those see it who get parts of it.
#[derive(Debug)]
pub struct Helpable {
    /// Its number in the plan.
    pub id: usize,
    pub shared: Arc<SharedPart>,
    pub validator: Validator,
    /// The URL that answered, where redirects led to it.
    pub effective_url: Option<WebUrl>,
    pub length: u64,
    /// How long the server took to answer the download's own request.
    pub latency: Duration,
    pub progress: Arc<Progress>,
    pub standing: Arc<Standing>,
}

/// A part of a download for a thread to get. Dropped, it leaves what is missing of it to others.
#[derive(Debug)]
pub struct Help {
    pub download: Arc<Helpable>,
    writer: SegmentWriter,
    from: u64,
    begun: Instant,
}

/// How helping with one download has gone so far, in all its attempts.
#[derive(Debug, Default)]
pub struct Standing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Parts that are asked for and have not been answered.
    asked: usize,
    /// Parts that the server has given as it should.
    given: usize,
    /// Whether it gave something else.
    is_refused: bool,
    failures_in_a_row: u32,
    left_alone_until: Option<Instant>,
    /// The last failure of another thread.
    failure: Option<Error>,
    helped: Duration,
    waited: Duration,
}

/// The running downloads that may be helped.
#[derive(Debug, Default)]
pub struct Board(Mutex<Vec<Arc<Helpable>>>);

/// A download on the board, until this is dropped.
#[derive(Debug)]
pub struct Offer<'a> {
    board: &'a Board,
    helpable: Arc<Helpable>,
}

impl Board {
    /// Offers a download to those who have nothing else to do.
    pub fn offer(&self, helpable: &Arc<Helpable>) -> Offer<'_> {
        self.downloads().push(Arc::clone(helpable));
        Offer { board: self, helpable: Arc::clone(helpable) }
    }

    /// The download that takes longest of those that want help, and that `may` have it.
    pub fn neediest(&self, may: impl Fn(usize) -> bool) -> Option<Arc<Helpable>> {
        let downloads = self.downloads();
        let eligible = downloads.iter().filter(|download| may(download.id));
        let times = eligible.filter_map(|download| Some((download.longest()?, download)));
        times.max_by_key(|(time, _)| *time).map(|(_, download)| Arc::clone(download))
    }

    fn downloads(&self) -> MutexGuard<'_, Vec<Arc<Helpable>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        self.board.downloads().retain(|helpable| !Arc::ptr_eq(helpable, &self.helpable));
    }
}

impl Helpable {
    /// How long the slowest of its threads will take, if help is wanted: it has to come in time to be any.
    fn longest(&self) -> Option<Duration> {
        let may = self.standing.state().may_be_helped(Instant::now());
        let longest = may.then(|| self.shared.longest_time_left()).flatten();
        longest.filter(|time| *time > self.latency.saturating_mul(2))
    }

    /// Takes a part to help with: one that is free, or half of what takes longest.
    pub fn take(self: &Arc<Self>) -> Option<Help> {
        let writer = self.longest().and_then(|_| self.shared.split_slowest())?;
        self.standing.state().asked += 1;
        Some(Help { download: Arc::clone(self), from: writer.position(), writer, begun: Instant::now() })
    }

    /// What the download's own thread does next: a part that is free; or, if the work is shared, half of what takes
    /// longest.
    pub fn take_own(&self, is_shared: bool) -> Option<SegmentWriter> {
        let writer = if is_shared && self.longest().is_some() {
            self.shared.split_slowest()
        } else {
            self.shared.next_segment()
        }?;
        self.standing.state().asked += 1;
        Some(writer)
    }

    /// Gets a part that was taken.
    ///
    /// # Errors
    ///
    /// [`Error::Part`] if the server does not give it, or gives something else; and whatever may pass.
    pub fn get(
        &self,
        writer: &SegmentWriter,
        download: &Download,
        context: &Context<'_>,
        worker: &mut Worker<'_>,
    ) -> Result<(), Error> {
        let (from, to) = (writer.position(), writer.end());
        let part = RangeRequest { from, to, validator: &self.validator, length: Some(self.length) };
        let answer = worker.client.get_part(&download.url, self.effective_url.as_ref(), part);
        self.standing.state().answered(answer.is_ok());
        let mut answer = answer.map_err(of_part)?;
        if !writer.accept_response(answer.position(), answer.range_end()) {
            return Ok(());
        }
        let result = body::receive(&mut answer, writer, &mut worker.buffer, &self.progress, context);
        if let Err(Error::Range(_)) = result {
            self.progress.take_back(writer.discard_written());
            return result.map_err(of_part);
        }
        result
    }
}

/// What is wrong with one part is not wrong with the file.
fn of_part(failure: Error) -> Error {
    match failure {
        Error::Range(_) => Error::Part(Box::new(failure)),
        _ if failure.is_temporary() => failure,
        _ => Error::Part(Box::new(failure)),
    }
}

impl Help {
    /// Gets the part.
    pub fn carry_out(&self, context: &Context<'_>, worker: &mut Worker<'_>) -> Result<(), Error> {
        let download = &context.plan.downloads()[self.download.id];
        context.reporter.event(&Event::Split(download, self.from));
        self.download.get(&self.writer, download, context, worker)
    }

    /// Takes note of how it went; what is missing is for others.
    pub fn end(self, result: Result<(), Error>) {
        let Self { download, writer, from, begun } = self;
        let now = Instant::now();
        let mut state = download.standing.state();
        state.helped += now - begun;
        if writer.position() > from {
            state.failures_in_a_row = 0;
        }
        state.ended(&result, now);
        state.failure = result.err();
        drop(state);
        // Last, so that whoever finds the part free knows why.
        drop(writer);
    }
}

impl Standing {
    /// Takes note of how the download's own thread fared.
    pub fn ended(&self, result: &Result<(), Error>) {
        self.state().ended(result, Instant::now());
    }

    /// Whether nobody is to ask for a part now.
    pub fn is_left_alone(&self) -> bool {
        self.state().is_left_alone(Instant::now())
    }

    /// Why a part is missing that another thread was to get.
    pub fn take_failure(&self) -> Option<Error> {
        self.state().failure.take()
    }

    /// The download's own thread waited for others.
    pub fn waited(&self, time: Duration) {
        self.state().waited += time;
    }

    /// The time that others spent on the download, less that which its own thread waited for them.
    pub fn helper_time(&self) -> Duration {
        let state = self.state();
        state.helped.saturating_sub(state.waited)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// One part is asked for first, and then as many more as the server has given: so one that bears only a few requests,
    /// or gives no parts at all, is not asked for many.
    fn may_be_helped(&self, now: Instant) -> bool {
        !self.is_refused && !self.is_left_alone(now) && self.asked <= self.given
    }

    fn is_left_alone(&self, now: Instant) -> bool {
        self.left_alone_until.is_some_and(|until| now < until)
    }

    fn answered(&mut self, as_it_should: bool) {
        self.asked = self.asked.saturating_sub(1);
        self.given += usize::from(as_it_should);
    }

    fn ended(&mut self, result: &Result<(), Error>, now: Instant) {
        match result {
            Ok(()) => (self.failures_in_a_row, self.left_alone_until) = (0, None),
            Err(failure) if !failure.is_temporary() || matches!(failure, Error::Part(_) | Error::Range(_)) => {
                self.is_refused = true;
            }
            // One of a burst, of which the first said it all.
            Err(_) if self.is_left_alone(now) => {}
            Err(failure) => {
                let wish = failure.retry_after().map(|hold_back| hold_back.wait).unwrap_or_default();
                let wait = LEFT_ALONE.saturating_mul(1 << self.failures_in_a_row.min(16)).min(LEFT_ALONE_LONGEST);
                self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
                self.left_alone_until = Some(now + wait.max(wish));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_for_as_many_parts_as_it_has_given() {
        let now = Instant::now();
        let mut state = State::default();
        for at_once in [1, 2, 4, 8] {
            let asked = (0..100).take_while(|_| {
                let may = state.may_be_helped(now);
                state.asked += usize::from(may);
                may
            });
            assert_eq!(asked.count(), at_once);
            (0..at_once).for_each(|_| state.answered(true));
        }
        state.ended(&Err(Error::Part(Box::new(Error::Range("it is the whole file")))), now);
        assert!(!state.may_be_helped(now + LEFT_ALONE_LONGEST), "it gives none");
    }

    #[test]
    fn after_a_failure_for_now_nobody_helps_for_a_while() {
        let now = Instant::now();
        let mut state = State::default();
        let failure = || Err(Error::Status { code: 503, reason: "", retry_after: None });
        let mut now = now;
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            // A burst counts once.
            (0..3).for_each(|_| state.ended(&failure(), now));
            now += Duration::from_secs(seconds);
            assert!(!state.may_be_helped(now - Duration::from_millis(1)) && state.may_be_helped(now));
        }
        state.ended(&Ok(()), now);
        state.ended(&failure(), now);
        assert!(state.may_be_helped(now + LEFT_ALONE));
    }

    #[test]
    fn a_server_that_says_when_to_come_again_is_left_alone_until_then() {
        let now = Instant::now();
        let mut state = State::default();
        let wait = Duration::from_secs(10);
        let retry_after = Some(Box::new(crate::error::RetryAfter { host: "h:80".to_owned(), wait }));
        state.ended(&Err(Error::Status { code: 503, reason: "", retry_after }), now);
        assert!(state.is_left_alone(now + wait - Duration::from_millis(1)) && !state.is_left_alone(now + wait));
    }
}
