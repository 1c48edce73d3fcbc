//! Carrying out one download: attempts, each a request and its answer, until it is done or given up.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::context::{Context, Worker};
use super::event::{Event, Progress};
use super::help::Standing;
use super::landing::Landing;
use super::outcome::{Ending, Outcome, Skip};
use super::retry::{self, History, Verdict};
use crate::error::Failure;
use crate::http::{Conditions, Got, Resume};
use crate::options::IfExists;
use crate::part::{self, Commit, Leftover, PartFile, Place};
use crate::plan::Download;

/// One download between its start and its end.
#[derive(Debug)]
pub struct Transfer<'a> {
    download: &'a Download,
    progress: Arc<Progress>,
    history: History,
    standing: Arc<Standing>,
    attempts: u32,
    own_time: Duration,
}

/// How far a transfer came without waiting.
pub enum Turn<'a> {
    Ended(Ending),
    /// To be gone on with after a time.
    Wait {
        transfer: Transfer<'a>,
        wait: Duration,
        /// Why.
        failure: Failure,
    },
}

impl<'a> Transfer<'a> {
    /// A transfer that has asked for nothing yet.
    pub fn new(download: &'a Download) -> Self {
        Self {
            download,
            progress: Arc::default(),
            history: History::default(),
            standing: Arc::default(),
            attempts: 0,
            own_time: Duration::ZERO,
        }
    }

    /// An end at any point, for a reason outside of the transfer.
    pub fn ended(&self, outcome: Outcome) -> Ending {
        let Self { progress, attempts, own_time, standing, .. } = self;
        let (arrived, helpers_time) = (progress.arrived(), standing.helpers_time());
        Ending { outcome, attempts: *attempts, arrived, own_time: *own_time, helpers_time }
    }
}

/// Blocks until the download has ended, or has failed for now and may be tried again after a wait.
pub fn download_file<'a>(mut transfer: Transfer<'a>, context: &Context<'_>, worker: &mut Worker<'_>) -> Turn<'a> {
    if context.control.is_cancelled() {
        return Turn::Ended(transfer.ended(cancelled(context)));
    }
    let begun = Instant::now();
    let attempt = attempt(&mut transfer, context, worker);
    transfer.own_time += begun.elapsed();
    let failure = match attempt {
        Ok(outcome) => return Turn::Ended(transfer.ended(outcome)),
        Err(Failure::Cancelled) => return Turn::Ended(transfer.ended(cancelled(context))),
        Err(failure) => failure,
    };
    transfer.history.failed(transfer.progress.received());
    match retry::decide(context.retry, &transfer.history, &failure, fastrand::f64()) {
        Verdict::GiveUp => Turn::Ended(transfer.ended(Outcome::Failed(failure))),
        Verdict::Wait(wait) => {
            transfer.own_time += wait;
            let (download, attempts) = (transfer.download, transfer.attempts);
            context.reporter.event(&Event::Retrying { download, failure: &failure, wait, attempts });
            Turn::Wait { transfer, wait, failure }
        }
    }
}

/// One request, and its body into a file under the final name; nothing is asked where what is there is to stay.
fn attempt(transfer: &mut Transfer<'_>, context: &Context<'_>, worker: &mut Worker<'_>) -> Result<Outcome, Failure> {
    let Transfer { download, progress, attempts, standing, .. } = transfer;
    let directory = &context.output.directory;
    let (target, part_path) = (download.path(directory), directory.join(download.target.part()));
    // A first attempt finds nothing where there was nothing when the run began; what has appeared since, the commit sees.
    let is_first_here = *attempts == 0 && context.began_empty;
    let mut known = None;
    let place = if is_first_here { Place::Free } else { part::place(&target)? };
    match (place, context.output.if_exists) {
        (Place::Free, _) | (Place::Taken(_), IfExists::Overwrite | IfExists::Rename) => {}
        (Place::NotAFile, IfExists::Rename) => {}
        (Place::Taken(modified), IfExists::Update) => known = modified,
        (Place::Taken(_), IfExists::Skip) => {
            part::remove_orphans(&part_path, &target);
            return Ok(Outcome::Skipped(Skip::Exists));
        }
        (Place::Taken(_), IfExists::Fail) => return Err(Failure::Exists(target)),
        (Place::NotAFile, _) => return Err(Failure::NotAFile(target)),
    }
    if *attempts == 0 {
        context.reporter.event(&Event::Started(download, progress));
    }
    *attempts += 1;
    let Leftover { part, why_not } =
        if is_first_here { Leftover::default() } else { PartFile::leftover(&part_path, &target, &download.url)? };
    if let (1, Some(why)) = (*attempts, why_not) {
        context.reporter.event(&Event::StartingOver(download, &why));
    }
    let asked = Instant::now();
    let answer = match ask(download, part.as_ref(), known, context, worker) {
        Ok(answer) => answer,
        Err(failure) => {
            if let (Failure::Range(_), Some(part)) = (&failure, part) {
                // What is there cannot be gone on with: the next attempt asks for everything.
                part.discard();
            }
            return Err(failure);
        }
    };
    let commit = match context.output.if_exists {
        IfExists::Overwrite => Commit::Replace,
        IfExists::Update if known.is_some() => Commit::Replace,
        _ => Commit::Keep,
    };
    let answer = match answer {
        Got::Unchanged => {
            if let Some(part) = part {
                part.discard();
            }
            return Ok(Outcome::Skipped(Skip::Unchanged));
        }
        Got::AllThere => None,
        Got::Answer(answer) => Some(*answer),
    };
    let latency = asked.elapsed();
    let landing = Landing { download, part_path: &part_path, commit, progress, standing, latency, context };
    landing.receive(answer, part, worker)
}

/// Asks for the file, or for the rest of it where a part of it is there and known; or for either only if the file has
/// changed since the time of the one that is `known`.
fn ask(
    download: &Download,
    part: Option<&PartFile>,
    known: Option<SystemTime>,
    context: &Context<'_>,
    worker: &Worker<'_>,
) -> Result<Got, Failure> {
    let part = part.filter(|part| part.received() > 0);
    let known_of = part.and_then(PartFile::sidecar);
    let resume = part.zip(known_of.as_ref()).and_then(|(part, sidecar)| {
        // Where nothing is missing, the server is to say that nothing is beyond.
        let (from, to) = part.gap().unwrap_or((part.received(), None));
        Some(Resume { from, to, validator: sidecar.validator.as_ref()?, length: sidecar.length })
    });
    let on_redirect = |to: &_| context.reporter.event(&Event::Redirected(download, to));
    worker.client.get(&download.url, &Conditions { resume, changed_since: known }, on_redirect)
}

/// What becomes of a download that a cancelled run does not finish.
pub fn cancelled(context: &Context<'_>) -> Outcome {
    if context.control.is_out_of_time() { Outcome::Failed(Failure::OutOfTime) } else { Outcome::Cancelled }
}
