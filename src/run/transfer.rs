//! Carrying out one download: attempts, each a request and its answer, until it is done or given up.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::context::{Context, Worker};
use super::event::{Event, Progress};
use super::help::Standing;
use super::landing::Landing;
use super::outcome::{Finished, Outcome, Skip, Unfinished};
use super::resuming::{Ask, Resuming};
use super::retry::{self, History, Verdict};
use crate::error::Error;
use crate::http::{Conditions, RangeRequest, Reply, Response};
use crate::options::IfExists;
use crate::part::{self, Commit, Existing, PartFile, Sidecar, TargetState};
use crate::plan::Download;
use crate::url::WebUrl;

/// One download between its start and its end.
#[derive(Debug)]
pub struct Transfer<'a> {
    download: &'a Download,
    progress: Arc<Progress>,
    history: History,
    resuming: Resuming,
    standing: Arc<Standing>,
    /// The URL whose answer is in the part file, where redirects led to it.
    effective_url: Option<WebUrl>,
    attempts: u32,
    own_time: Duration,
}

/// How far a transfer came without waiting.
pub enum Turn<'a> {
    Ended(Finished),
    /// To be gone on with after a time.
    Wait {
        transfer: Transfer<'a>,
        wait: Duration,
        /// Why.
        failure: Error,
    },
}

impl<'a> Transfer<'a> {
    /// A transfer that has asked for nothing yet.
    pub fn new(download: &'a Download) -> Self {
        Self {
            download,
            progress: Arc::default(),
            history: History::default(),
            resuming: Resuming::default(),
            standing: Arc::default(),
            effective_url: None,
            attempts: 0,
            own_time: Duration::ZERO,
        }
    }

    /// An end at any point, for a reason outside of the transfer.
    pub fn ended(&self, outcome: Outcome) -> Finished {
        let Self { progress, attempts, own_time, standing, .. } = self;
        let (transferred, helper_time) = (progress.transferred(), standing.helper_time());
        Finished { outcome, attempts: *attempts, transferred, own_time: *own_time, helper_time }
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
    let Unfinished { failure, kept } = match attempt {
        Ok(outcome) => return Turn::Ended(transfer.ended(outcome)),
        Err(Unfinished { failure: Error::Cancelled, .. }) => {
            return Turn::Ended(transfer.ended(cancelled(context)));
        }
        Err(unfinished) => unfinished,
    };
    transfer.progress.keep(kept);
    transfer.history.failed(kept);
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
fn attempt(transfer: &mut Transfer<'_>, context: &Context<'_>, worker: &mut Worker<'_>) -> Result<Outcome, Unfinished> {
    let directory = &context.output.directory;
    let download = transfer.download;
    let (target, part_path) = (download.path(directory), directory.join(download.target.part_name()));
    // A first attempt finds nothing where there was nothing when the run began; what has appeared since, the commit sees.
    let is_unseen = transfer.attempts == 0 && context.began_empty;
    let mut known = None;
    let place = if is_unseen { TargetState::Free } else { part::target_state(&target)? };
    match (place, context.output.if_exists) {
        (TargetState::Free, _) | (TargetState::Occupied(_), IfExists::Overwrite | IfExists::Rename) => {}
        (TargetState::NotAFile, IfExists::Rename) => {}
        (TargetState::Occupied(modified), IfExists::Update) => known = modified,
        (TargetState::Occupied(_), IfExists::Skip) => {
            let parts = [&part_path, &beside(&part_path)];
            if transfer.attempts == 0 {
                parts.into_iter().for_each(|part| part::remove_orphans(part, &target));
            } else {
                // Another process was faster, and what this run has of the file is of no use.
                Leftovers::find(&part_path, &target, &download.url)?.discard();
            }
            return Ok(Outcome::Skipped(Skip::Exists));
        }
        (TargetState::Occupied(_), IfExists::Fail) => return Err(Error::Exists(target).into()),
        (TargetState::NotAFile, _) => return Err(Error::NotAFile(target).into()),
    }
    if transfer.attempts == 0 {
        context.reporter.event(&Event::Started(download, &transfer.progress));
    }
    transfer.attempts += 1;
    let Leftovers { part, part_path, beside, discard_reason } = match is_unseen {
        true => Leftovers { part: None, beside: beside(&part_path), part_path, discard_reason: None },
        false => Leftovers::find(&part_path, &target, &download.url)?,
    };
    if let (1, Some(why)) = (transfer.attempts, discard_reason) {
        context.reporter.event(&Event::StartingOver(download, &why));
    }
    let commit = match context.output.if_exists {
        IfExists::Overwrite => Commit::Replace,
        IfExists::Update if known.is_some() => Commit::Replace,
        _ => Commit::Keep,
    };
    let sought = Sought { target: &target, part_path, beside, known, commit, is_unseen };
    match part {
        Some(part) if part.received() > 0 => continue_part(transfer, part, &sought, context, worker),
        part => fetch_whole(transfer, part, &sought, context, worker),
    }
}

/// What earlier attempts and runs have left of a file.
struct Leftovers {
    part: Option<PartFile>,
    /// Where it is, or would be.
    part_path: PathBuf,
    /// Where a whole file is received while the part is kept.
    beside: PathBuf,
    /// Why what is there is not in `part`.
    discard_reason: Option<String>,
}

impl Leftovers {
    /// Finds the part file of `target`. Where a whole file was received beside it, the longer one counts, and the other
    /// goes.
    fn find(part_path: &Path, target: &Path, url: &WebUrl) -> Result<Self, Error> {
        let mut found =
            Self { part: None, part_path: part_path.to_owned(), beside: beside(part_path), discard_reason: None };
        let Existing { part, discard_reason } = PartFile::open_existing(part_path, target, url)?;
        (found.part, found.discard_reason) = (part, discard_reason);
        if let Some(mut other) = PartFile::open_replacement(&found.beside, target, url)? {
            if other.received() > found.part.as_ref().map_or(0, PartFile::received) {
                std::mem::swap(&mut found.part_path, &mut found.beside);
                (found.discard_reason, other) = match found.part.replace(other) {
                    Some(part) => (None, part),
                    None => return Ok(Self { discard_reason: None, ..found }),
                };
            }
            other.discard();
        }
        Ok(found)
    }

    fn discard(self) {
        if let Some(part) = self.part {
            part.discard();
        }
    }
}

/// What an attempt is after, beside the download's URL.
struct Sought<'a> {
    target: &'a Path,
    part_path: PathBuf,
    /// Where a whole file is received while what is there is kept.
    beside: PathBuf,
    /// The time of the file that is there, where only a newer one is wanted.
    known: Option<SystemTime>,
    commit: Commit,
    /// Whether nobody has looked yet what is there.
    is_unseen: bool,
}

/// Asks for all of a file of which nothing is there.
fn fetch_whole(
    transfer: &mut Transfer<'_>,
    part: Option<PartFile>,
    sought: &Sought<'_>,
    context: &Context<'_>,
    worker: &mut Worker<'_>,
) -> Result<Outcome, Unfinished> {
    let asked = Instant::now();
    match ask(transfer, None, sought, context, worker)? {
        Reply::NotModified => {
            if let Some(part) = part {
                part.discard();
            }
            Ok(Outcome::Skipped(Skip::Unchanged))
        }
        Reply::AlreadyComplete => Err(Error::Range("nothing was there, and no rest is").into()),
        Reply::Response(answer) => {
            transfer.effective_url = answer.redirect_target(&transfer.download.url);
            landing(transfer, sought, asked.elapsed(), context).receive(*answer, part, worker)
        }
    }
}

/// Asks for the rest of what is there, or for all of the file where [`Resuming`] says so.
fn continue_part(
    transfer: &mut Transfer<'_>,
    part: PartFile,
    sought: &Sought<'_>,
    context: &Context<'_>,
    worker: &mut Worker<'_>,
) -> Result<Outcome, Unfinished> {
    if transfer.attempts == 1 {
        let of = |sidecar: Sidecar| (sidecar.failed_resumes, sidecar.unusable_answers);
        let (failed, unusable) = part.sidecar().map_or((0, 0), of);
        transfer.resuming = Resuming::after(failed, unusable, context.retry.retries);
    }
    let asks_for = transfer.resuming.ask();
    let resumed = (asks_for == Ask::Rest).then_some(&part);
    let before = part.received();
    let asked = Instant::now();
    let answer = match ask(transfer, resumed, sought, context, worker) {
        Ok(Reply::Response(answer)) => *answer,
        Ok(Reply::AlreadyComplete) => return landing(transfer, sought, asked.elapsed(), context).finish_part(part),
        Ok(Reply::NotModified) => {
            part.discard();
            return Ok(Outcome::Skipped(Skip::Unchanged));
        }
        Err(failure) => {
            // The redirects may lead elsewhere the next time.
            transfer.effective_url = None;
            transfer.resuming.failed(&failure);
            return Err(Unfinished { failure, kept: keep_for_resume(part, &transfer.resuming) });
        }
    };
    let latency = asked.elapsed();
    if answer.is_part() {
        // Unless something comes of it.
        let (failed, unusable) = transfer.resuming.counts();
        part.note_failed_resumes(failed + 1, unusable);
        transfer.effective_url = answer.redirect_target(&transfer.download.url);
        let result = landing(transfer, sought, latency, context).receive(answer, Some(part), worker);
        if let Err(Unfinished { failure, kept }) = &result {
            if *kept > before { transfer.resuming.grew() } else { transfer.resuming.failed(failure) }
        }
        return result;
    }
    transfer.effective_url = answer.redirect_target(&transfer.download.url);
    if asks_for == Ask::StartOver || !transfer.resuming.keeps_part() {
        transfer.resuming = Resuming::default();
        return landing(transfer, sought, latency, context).receive(answer, Some(part), worker);
    }
    receive_beside(transfer, part, answer, sought, latency, context, worker)
}

/// Receives a whole file while what is there of it is kept. If it breaks off, the longer of the two stays.
fn receive_beside(
    transfer: &mut Transfer<'_>,
    part: PartFile,
    answer: Response,
    sought: &Sought<'_>,
    latency: Duration,
    context: &Context<'_>,
    worker: &mut Worker<'_>,
) -> Result<Outcome, Unfinished> {
    let before = part.received();
    let room = match PartFile::open_existing(&sought.beside, sought.target, &transfer.download.url) {
        Ok(Existing { part: room, discard_reason }) => {
            if let Some(why) = discard_reason {
                context.reporter.event(&Event::Warning(&why));
            }
            room
        }
        Err(failure) if failure.is_temporary() => return Err(Unfinished { failure, kept: part.keep_for_resume() }),
        // Something has that name. What is there is worth less than the file.
        Err(_) => return landing(transfer, sought, latency, context).receive(answer, Some(part), worker),
    };
    let landing = Landing {
        part_path: &sought.beside,
        superseded: Cell::new(Some(part)),
        ..landing(transfer, sought, latency, context)
    };
    let result = landing.receive(answer, room, worker);
    // It is gone if the whole file came to get its name.
    let part = landing.superseded.take();
    match (result, part) {
        (Err(Unfinished { failure, kept }), Some(part)) if kept > before => {
            part.discard();
            transfer.resuming.grew();
            Err(Unfinished { failure, kept })
        }
        (Err(Unfinished { failure, .. }), Some(part)) => {
            transfer.effective_url = None;
            transfer.resuming.whole_failed();
            if let Some(shorter) = PartFile::open_replacement(&sought.beside, sought.target, &transfer.download.url)? {
                shorter.discard();
            }
            let has_no_room = matches!(failure, Error::NoRoom { .. }) || failure.is_full_disk();
            if has_no_room {
                transfer.resuming.give_up_part();
            }
            let failure =
                if has_no_room { Error::Range("there is no room for it beside what is there") } else { failure };
            Err(Unfinished { failure, kept: keep_for_resume(part, &transfer.resuming) })
        }
        (Ok(outcome), Some(part)) => {
            part.discard();
            Ok(outcome)
        }
        (result, None) => result,
    }
}

/// Leaves a part file for a later attempt, which may be another run's.
fn keep_for_resume(part: PartFile, resuming: &Resuming) -> u64 {
    let (failed, unusable) = resuming.counts();
    part.note_failed_resumes(failed, unusable);
    part.keep_for_resume()
}

/// The path of the part file of a whole file while another is kept.
fn beside(part_path: &Path) -> PathBuf {
    let mut path = part_path.as_os_str().to_owned();
    path.push(".new");
    path.into()
}

fn landing<'a>(
    transfer: &'a Transfer<'_>,
    sought: &'a Sought<'a>,
    latency: Duration,
    context: &'a Context<'a>,
) -> Landing<'a> {
    Landing {
        download: transfer.download,
        part_path: &sought.part_path,
        is_unseen: sought.is_unseen,
        commit: sought.commit,
        superseded: Cell::new(None),
        progress: &transfer.progress,
        standing: &transfer.standing,
        latency,
        context,
    }
}

/// Asks for the file, or for the rest of it where a part of it is there and known; or for either only if the file has
/// changed since the time of the one that is known.
fn ask(
    transfer: &Transfer<'_>,
    part: Option<&PartFile>,
    sought: &Sought<'_>,
    context: &Context<'_>,
    worker: &Worker<'_>,
) -> Result<Reply, Error> {
    let download = transfer.download;
    let sidecar = part.and_then(PartFile::sidecar);
    let resume = part.zip(sidecar.as_ref()).and_then(|(part, sidecar)| {
        // Where nothing is missing, the server is to say that nothing is beyond.
        let (from, to) = part.gap().unwrap_or((part.received(), None));
        Some(RangeRequest { from, to, validator: sidecar.validator.as_ref()?, length: sidecar.length })
    });
    let effective_url = transfer.effective_url.as_ref().filter(|_| resume.is_some());
    let conditions = Conditions { resume, changed_since: sought.known };
    let on_redirect = |to: &_| context.reporter.event(&Event::Redirected(download, to));
    worker.client.get(&download.url, effective_url, &conditions, on_redirect)
}

/// What becomes of a download that a cancelled run does not finish.
pub fn cancelled(context: &Context<'_>) -> Outcome {
    if context.control.is_out_of_time() { Outcome::Failed(Error::OutOfTime) } else { Outcome::Cancelled }
}
