//! Carrying out one download, from its first request to its final name.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::control::Control;
use super::event::{Event, Progress, Reporter};
use super::outcome::{Ending, Fetched, Outcome};
use super::retry::{self, Verdict};
use crate::error::Failure;
use crate::http::{Answer, Client};
use crate::options::{IfExists, Output, Retry};
use crate::part::{self, Commit, PartFile, Place};
use crate::plan::{Download, Plan, SafeName};

/// Bytes read at once. 64 KiB and 256 KiB make no difference (measured).
const BUFFER: usize = 64 * 1024;

/// What all downloads of a run share.
pub struct Context<'a> {
    pub plan: &'a Plan,
    pub output: &'a Output,
    pub retry: &'a Retry,
    pub control: &'a Control,
    pub reporter: &'a dyn Reporter,
}

/// What one thread brings to all of its downloads.
pub struct Worker<'a> {
    client: &'a Client,
    buffer: Box<[u8]>,
}

impl<'a> Worker<'a> {
    pub fn new(client: &'a Client) -> Self {
        Self {
            client,
            buffer: vec![0; BUFFER].into_boxed_slice(),
        }
    }
}

/// One download between its start and its end.
#[derive(Debug)]
pub struct Transfer<'a> {
    download: &'a Download,
    progress: Arc<Progress>,
    attempts: u32,
    own_time: Duration,
}

/// How far a transfer came without waiting.
pub enum Turn {
    Ended(Ending),
    /// To be gone on with after this time.
    Wait(Duration),
}

impl<'a> Transfer<'a> {
    /// A transfer that has asked for nothing yet.
    pub fn new(download: &'a Download) -> Self {
        Self {
            download,
            progress: Arc::default(),
            attempts: 0,
            own_time: Duration::ZERO,
        }
    }

    /// An end at any point, for a reason outside of the transfer.
    pub const fn ended(&self, outcome: Outcome) -> Ending {
        Ending {
            outcome,
            attempts: self.attempts,
            own_time: self.own_time,
        }
    }
}

/// Blocks until the download has ended, or has failed for now and may be tried again after a wait.
pub fn download_file(
    transfer: &mut Transfer<'_>,
    context: &Context<'_>,
    worker: &mut Worker<'_>,
) -> Turn {
    if context.control.is_cancelled() {
        return Turn::Ended(transfer.ended(Outcome::Cancelled));
    }
    let begun = Instant::now();
    let attempt = attempt(transfer, context, worker);
    transfer.own_time += begun.elapsed();
    let failure = match attempt {
        Ok(outcome) => return Turn::Ended(transfer.ended(outcome)),
        Err(Failure::Cancelled) => return Turn::Ended(transfer.ended(Outcome::Cancelled)),
        Err(failure) => failure,
    };
    match retry::decide(context.retry, transfer.attempts, &failure, fastrand::f64()) {
        Verdict::GiveUp => Turn::Ended(transfer.ended(Outcome::Failed(failure))),
        Verdict::Wait(wait) => {
            transfer.own_time += wait;
            let (download, attempts) = (transfer.download, transfer.attempts);
            context.reporter.event(&Event::Retrying {
                download,
                failure: &failure,
                wait,
                attempts,
            });
            Turn::Wait(wait)
        }
    }
}

/// One request, and its body into the part file and under the final name.
fn attempt(
    transfer: &mut Transfer<'_>,
    context: &Context<'_>,
    worker: &mut Worker<'_>,
) -> Result<Outcome, Failure> {
    let Transfer {
        download,
        progress,
        attempts,
        ..
    } = transfer;
    let directory = &context.output.directory;
    let target = download.path(directory);
    match (part::place(&target)?, context.output.if_exists) {
        (Place::Free, _) | (Place::Taken, IfExists::Overwrite | IfExists::Rename) => {}
        (Place::NotAFile, IfExists::Rename) => {}
        (Place::Taken, IfExists::Skip) => return Ok(Outcome::Skipped),
        (Place::Taken, IfExists::Fail) => return Err(Failure::Exists(target)),
        (Place::NotAFile, _) => return Err(Failure::NotAFile(target)),
    }
    if *attempts == 0 {
        context.reporter.event(&Event::Started(download, progress));
    }
    *attempts += 1;
    let on_redirect = |to: &_| context.reporter.event(&Event::Redirected(download, to));
    let mut answer = worker.client.get(&download.url, on_redirect)?;
    let mut part = PartFile::create(directory.join(download.target.part()))?;
    if !part.is_locked() {
        context.control.warn_of_no_locks(context.reporter);
    }
    let bytes = match receive(
        &mut answer,
        &mut part,
        progress,
        context.control,
        &mut worker.buffer,
    ) {
        Ok(bytes) => bytes,
        Err(failure) => {
            part.discard();
            return Err(failure);
        }
    };
    if let Some(time) = answer.last_modified() {
        part.set_modified(time);
    }
    let name = commit(part, &download.target, context)?;
    Ok(name.map_or(Outcome::Skipped, |name| {
        Outcome::Fetched(Fetched {
            name,
            bytes,
            status: answer.status(),
            framing: answer.framing(),
        })
    }))
}

/// The whole body, as served, into the part file; its length.
fn receive(
    answer: &mut Answer,
    part: &mut PartFile,
    progress: &Progress,
    control: &Control,
    buffer: &mut [u8],
) -> Result<u64, Failure> {
    progress.begin(answer.framing().length());
    loop {
        if control.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        match answer.read(buffer)? {
            0 => return Ok(progress.received()),
            count => {
                part.write(&buffer[..count])?;
                progress.add(count as u64);
            }
        }
    }
}

/// Gives a whole part file its final name, and says which. `None`: a file that appeared meanwhile was left alone.
fn commit(
    part: PartFile,
    target: &SafeName,
    context: &Context<'_>,
) -> Result<Option<SafeName>, Failure> {
    let path = |name: &SafeName| context.output.directory.join(name.as_str());
    let how = match context.output.if_exists {
        IfExists::Overwrite => Commit::Replace,
        IfExists::Skip | IfExists::Rename | IfExists::Fail => Commit::Keep,
    };
    let Some(mut part) = part.commit(&path(target), how)? else {
        return Ok(Some(target.clone()));
    };
    if context.output.if_exists == IfExists::Rename {
        for name in (2..)
            .map(|number| target.numbered(number))
            .filter(|name| !context.plan.uses(name))
        {
            match part.commit(&path(&name), how)? {
                None => return Ok(Some(name)),
                Some(uncommitted) => part = uncommitted,
            }
        }
    }
    part.discard();
    match context.output.if_exists {
        IfExists::Skip => Ok(None),
        _ => Err(Failure::Exists(path(target))),
    }
}
