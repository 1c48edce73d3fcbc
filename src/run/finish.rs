//! What happens to downloads that have finished, or never started because the run stopped.

use super::event::Event;
use super::outcome::{Finished, Outcome};
use super::session::Session;
use crate::error::Error;
use crate::plan::Download;

/// Counts and reports a finished download.
pub fn report_finished(download: &Download, finished: &Finished, session: &Session<'_>) {
    session.stats.count(download, finished);
    session.emit(&Event::Finished(download, finished));
}

/// A download that was never started, because the run stopped before.
pub fn not_started(session: &Session<'_>) -> Finished {
    Finished::without_counts(stopped_outcome(session))
}

/// The outcome of a download that was unfinished when the run stopped.
pub fn stopped_outcome(session: &Session<'_>) -> Outcome {
    if session.is_out_of_time() { Outcome::Failed(Error::OutOfTime) } else { Outcome::Cancelled }
}

/// Whether nothing new may start after this: the disk is full, or the user wants to stop at the first permanent
/// failure.
pub fn stops_run(finished: &Finished, session: &Session<'_>) -> bool {
    let Outcome::Failed(failure) = &finished.outcome else { return false };
    failure.is_full_disk() || (session.limits.fail_fast && !failure.is_temporary())
}
