//! One turn of a download and what is done when a download has ended.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::context::{Context, Worker};
use super::event::Event;
use super::outcome::{Finished, Outcome};
use super::transfer::{Transfer, Turn, cancelled, download_file};
use crate::error::Error;
use crate::options::Limits;
use crate::plan::Download;

/// One turn of a download. A panic in it is that download's failure.
pub fn turn<'a>(transfer: Transfer<'a>, context: &Context<'_>, worker: &mut Worker<'_>) -> Turn<'a> {
    catch_unwind(AssertUnwindSafe(|| download_file(transfer, context, worker))).unwrap_or_else(|panic| {
        let failure = Error::Panicked(text_of(&*panic));
        Turn::Ended(Finished { outcome: Outcome::Failed(failure), ..never_begun(context) })
    })
}

/// What a panic says.
pub fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}

/// Counts and reports an end.
pub fn conclude(download: &Download, finished: &Finished, context: &Context<'_>) {
    context.control.count(&download.url, finished);
    tell(&Event::Finished(download, finished), context);
}

/// Reports an event. A reporter that panics at it is not the run's concern.
pub fn tell(event: &Event<'_>, context: &Context<'_>) {
    let _ = catch_unwind(AssertUnwindSafe(|| context.reporter.event(event)));
}

/// Whether nothing new is to begin after this end: a full disk leaves room for nothing, and the user may want it so.
pub fn closes(finished: &Finished, limits: &Limits) -> bool {
    let Outcome::Failed(failure) = &finished.outcome else { return false };
    failure.is_full_disk() || (limits.fail_fast && !failure.is_temporary())
}

pub fn never_begun(context: &Context<'_>) -> Finished {
    Finished {
        outcome: cancelled(context),
        attempts: 0,
        transferred: 0,
        own_time: Duration::ZERO,
        helper_time: Duration::ZERO,
    }
}
