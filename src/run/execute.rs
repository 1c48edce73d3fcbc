//! Runs a plan, or one download, from the output directory to the result.

use std::sync::mpsc::Receiver;

use super::cancel::{CancelToken, Stop};
use super::directory::{check_writable, create_directory, must_avoid};
use super::event::{Event, Reporter};
use super::growing_list::{GrowingList, Item, Received};
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
    run(&start(plan, None, options, reporter, Stop::new(cancel, options.limits.max_time))?)
}

/// Runs a plan that grows. See [`run_growing`](crate::run_growing).
pub fn execute_growing(
    plan: &Plan,
    list: Receiver<Item>,
    options: &Options,
    reporter: &dyn Reporter,
    cancel: &CancelToken,
) -> Result<Summary, Error> {
    let Options { limits, output, .. } = options;
    let (list, stop) = (GrowingList::new(list), Stop::new(cancel, limits.max_time));
    if plan.is_empty() {
        // Until there is something to do, the file system is not touched.
        let empty = |is_list_open| Summary { mode: limits.mode, is_list_open, ..Summary::default() };
        match list.next(|| stop.is_stopped()) {
            Received::Item(Item::Entry(entry)) => {
                // Neither a duplicate nor too much: it is the first.
                let _ = plan.add(entry, |target| must_avoid(target, output));
            }
            Received::Item(invalid) => list.put_back(invalid),
            Received::End => return Ok(empty(false)),
            Received::Nothing => return Ok(empty(true)),
        }
    }
    run(&start(plan, Some(list), options, reporter, stop)?)
}

fn run(session: &Session<'_>) -> Result<Summary, Error> {
    let mode = session.limits.mode;
    let (plan, stats, is_list_open) = (session.plan, &session.stats, session.list.is_some());
    session.emit(&Event::Planned { plan, mode, stats, is_list_open });
    match mode {
        Mode::Sequential => run_sequentially(session),
        Mode::Concurrent => run_concurrently(session),
    }
    Ok(stats.snapshot())
}

/// Runs the first download of a plan in the calling thread, and returns its file.
pub fn execute_first(plan: &Plan, options: &Options) -> Result<Fetched, Error> {
    let cancel = CancelToken::new();
    let session = start(plan, None, options, &(), Stop::new(&cancel, options.limits.max_time))?;
    let is_stopped = || session.is_stopped();
    let mut worker = Worker::new(session.clients.for_thread(0, &is_stopped));
    let finished = run_to_completion(&plan[0], &session, &mut worker);
    match finished.outcome {
        Outcome::Fetched(file) => Ok(file),
        Outcome::Failed(failure) => Err(failure),
        Outcome::Skipped(_) => Err(Error::Exists(plan[0].target().path_in(&options.output.directory))),
        Outcome::Cancelled => Err(Error::Cancelled),
    }
}

/// Prepares the output directory, and then everything else that a run needs.
fn start<'a>(
    plan: &'a Plan,
    list: Option<GrowingList>,
    options: &'a Options,
    reporter: &'a dyn Reporter,
    stop: Stop<'a>,
) -> Result<Session<'a>, Error> {
    create_directory(&options.output.directory, options.output.fsync)?;
    check_writable(plan, &options.output)?;
    Session::new(plan, list, options, reporter, stop)
}
