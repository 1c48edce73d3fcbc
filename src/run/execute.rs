//! Runs a plan, or one download, from the output directory to the result.

use super::cancel::CancelToken;
use super::directory::{check_writable, create_directory};
use super::event::{Event, Reporter};
use super::outcome::{Fetched, Outcome, Summary};
use super::schedule::{run_concurrently, run_sequentially, run_to_completion};
use super::session::{Session, Worker};
use crate::error::Error;
use crate::options::{Mode, Options};
use crate::plan::Plan;

/// Runs a plan. See [`run`](crate::run()).
pub fn execute(
    plan: &Plan,
    options: &Options,
    reporter: &dyn Reporter,
    cancel: &CancelToken,
) -> Result<Summary, Error> {
    let session = start(plan, options, reporter, cancel)?;
    session.emit(&Event::Planned { plan, mode: options.limits.mode, stats: &session.stats });
    match options.limits.mode {
        Mode::Sequential => run_sequentially(&session),
        Mode::Concurrent => run_concurrently(&session),
    }
    Ok(session.stats.snapshot())
}

/// Runs the first download of a plan in the calling thread, and returns its file.
pub fn execute_first(plan: &Plan, options: &Options) -> Result<Fetched, Error> {
    let cancel = CancelToken::new();
    let session = start(plan, options, &(), &cancel)?;
    let is_stopped = || session.is_stopped();
    let mut worker = Worker::new(session.clients.for_thread(0, &is_stopped));
    let finished = run_to_completion(&plan.downloads()[0], &session, &mut worker);
    match finished.outcome {
        Outcome::Fetched(file) => Ok(file),
        Outcome::Failed(failure) => Err(failure),
        Outcome::Skipped(_) => Err(Error::Exists(plan.downloads()[0].target().path_in(&options.output.directory))),
        Outcome::Cancelled => Err(Error::Cancelled),
    }
}

/// Prepares the output directory, and then everything else that a run needs.
fn start<'a>(
    plan: &'a Plan,
    options: &'a Options,
    reporter: &'a dyn Reporter,
    cancel: &'a CancelToken,
) -> Result<Session<'a>, Error> {
    create_directory(&options.output.directory, options.output.fsync)?;
    check_writable(plan, &options.output)?;
    Session::new(plan, options, reporter, cancel)
}
