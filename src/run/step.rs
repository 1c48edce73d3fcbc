//! One step of a download: an attempt, and what follows it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::attempt::run_attempt;
use super::event::Event;
use super::finish::stopped_outcome;
use super::outcome::{Finished, Outcome, Unfinished};
use super::retry::{self, Verdict};
use super::session::{Session, Worker};
use super::transfer::Transfer;
use crate::error::Error;

/// What follows an attempt. `T` is a [`Transfer`], except in tests.
#[derive(Debug)]
pub enum Step<T> {
    /// The download has finished.
    Finished(Finished),
    /// It will be tried again: at the same source after a temporary failure, or at the next one. The caller does the
    /// waiting, and reports with [`report_retry`] how long that will be.
    Retry { transfer: T, wait: Duration, failure: Error },
}

/// Makes one attempt at a download, and decides what follows. A panic is a failure of this download alone.
pub fn step<'a>(transfer: Transfer<'a>, session: &Session<'_>, worker: &mut Worker<'_>) -> Step<Transfer<'a>> {
    catch_panic(|| try_step(transfer, session, worker))
}

/// Turns a panic into a failure. The transfer is lost, and with it its counts.
fn catch_panic<T>(make_step: impl FnOnce() -> Step<T>) -> Step<T> {
    catch_unwind(AssertUnwindSafe(make_step)).unwrap_or_else(|panic| {
        Step::Finished(Finished::without_counts(Outcome::Failed(Error::Panicked(panic_message(&*panic)))))
    })
}

fn try_step<'a>(mut transfer: Transfer<'a>, session: &Session<'_>, worker: &mut Worker<'_>) -> Step<Transfer<'a>> {
    if session.is_stopped() {
        return Step::Finished(transfer.finished(stopped_outcome(session)));
    }
    let started = Instant::now();
    let result = run_attempt(&mut transfer, session, worker);
    transfer.own_time += started.elapsed();
    match result {
        Ok(outcome) => Step::Finished(transfer.finished(outcome)),
        Err(Unfinished { failure: Error::Cancelled, .. }) => {
            Step::Finished(transfer.finished(stopped_outcome(session)))
        }
        Err(unfinished) => follow_failure(transfer, unfinished, session),
    }
}

fn follow_failure<'a>(
    mut transfer: Transfer<'a>,
    Unfinished { failure, kept }: Unfinished,
    session: &Session<'_>,
) -> Step<Transfer<'a>> {
    transfer.progress.set_received(kept);
    transfer.history.record(kept);
    let has_next_source = transfer.has_next_source();
    let wait = match retry::decide(session.retry, &transfer.history, &failure, has_next_source, fastrand::f64()) {
        Verdict::GiveUp => return Step::Finished(transfer.finished(Outcome::Failed(failure))),
        Verdict::NextSource => {
            transfer.use_next_source();
            Duration::ZERO
        }
        Verdict::Wait(wait) => wait,
    };
    transfer.own_time += wait;
    Step::Retry { transfer, wait, failure }
}

/// Reports that a download will be tried again, after `wait` at the earliest.
pub fn report_retry(transfer: &Transfer<'_>, failure: &Error, wait: Duration, session: &Session<'_>) {
    let (download, attempts) = (transfer.download, transfer.attempts);
    let retry = (transfer.history.next_retry(), session.retry.retries);
    session.emit(&Event::Retrying { download, failure, wait, attempts, retry });
}

/// The message of a panic.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_permanent_failure_with_its_message() {
        for (make_step, message) in [
            ((|| panic!("plain")) as fn() -> Step<()>, "internal error: plain"),
            (|| panic!("formatted {}", 1), "internal error: formatted 1"),
            (|| std::panic::panic_any(1), "internal error: panic"),
        ] {
            let Step::Finished(finished) = catch_panic(make_step) else { panic!("no step") };
            let Outcome::Failed(failure) = finished.outcome else { panic!("{finished:?}") };
            assert_eq!((failure.to_string().as_str(), failure.is_temporary()), (message, false));
        }
    }
}
