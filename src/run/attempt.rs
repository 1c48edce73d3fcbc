//! One attempt at a download, from the look at its target to its final name: decide what to request, request it, and hand
//! the response on to be received and committed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::commit::commit;
use super::event::Event;
use super::leftovers::{Leftovers, replacement_path};
use super::outcome::{Outcome, Skip, Unfinished};
use super::receive::{Received, receive};
use super::resume_policy::{Ask, ResumePolicy};
use super::session::{Session, Worker};
use super::sink::{Landing, Sink};
use super::transfer::Transfer;
use crate::error::Error;
use crate::http::{Conditions, Framing, RangeRequest, Reply, Request, Response};
use crate::options::IfExists;
use crate::part::{self, CommitMode, Existing, PartFile, Sidecar, TargetState};

/// A body no longer than this is received without another look at the target.
const RECHECK_FROM: u64 = 1024 * 1024;

/// The status of the response that says that nothing is missing.
const RANGE_NOT_SATISFIABLE: u16 = 416;

/// What an attempt begins with.
enum ResumeAction {
    /// Nothing has been received yet; an empty part file may be there.
    Fresh(Option<PartFile>),
    /// Some of the file has been received.
    Resume(PartFile),
}

/// Makes one attempt: at most one request, with its redirects, and its response under the final name.
///
/// # Errors
///
/// Why it failed, and how much was kept for the next attempt.
pub fn run_attempt(
    transfer: &mut Transfer<'_>,
    session: &Session<'_>,
    worker: &mut Worker<'_>,
) -> Result<Outcome, Unfinished> {
    let mut attempt = match Attempt::prepare(transfer, session)? {
        Prepared::Skip(skip) => return Ok(Outcome::Skipped(skip)),
        Prepared::Attempt(attempt) => attempt,
    };
    match attempt.open_leftovers()? {
        ResumeAction::Fresh(part) => attempt.fetch_whole(part, worker),
        ResumeAction::Resume(part) => attempt.resume(part, worker),
    }
}

/// One attempt, once it is known that there is something to fetch.
struct Attempt<'t, 'a> {
    transfer: &'t mut Transfer<'a>,
    session: &'t Session<'t>,
    target: PathBuf,
    part_path: PathBuf,
    replacement_path: PathBuf,
    /// Fetch the file only if it has changed since this time.
    changed_since: Option<SystemTime>,
    commit_mode: CommitMode,
    /// Whether the directory was empty when the run began, and nobody has looked for the target since.
    is_target_unchecked: bool,
}

enum Prepared<'t, 'a> {
    Attempt(Attempt<'t, 'a>),
    Skip(Skip),
}

impl<'t, 'a> Attempt<'t, 'a> {
    /// Looks at the target, and decides whether there is anything to fetch.
    fn prepare(transfer: &'t mut Transfer<'a>, session: &'t Session<'t>) -> Result<Prepared<'t, 'a>, Error> {
        let directory = &session.output.directory;
        let target = transfer.download.target().path_in(directory);
        let part_path = transfer.download.target().part_path_in(directory);
        let is_target_unchecked = transfer.attempts == 0 && session.began_empty;
        let mut changed_since = None;
        let state = if is_target_unchecked { TargetState::Free } else { part::target_state(&target)? };
        match (state, session.output.if_exists) {
            (TargetState::Free, _) => {}
            (TargetState::Occupied(_), IfExists::Overwrite) | (_, IfExists::Rename) => {}
            (TargetState::Occupied(modified), IfExists::Update) => changed_since = modified,
            (TargetState::Occupied(_), IfExists::Skip) => {
                if transfer.attempts == 0 {
                    part::remove_orphans(&part_path, &target);
                    part::remove_orphans(&replacement_path(&part_path), &target);
                } else {
                    // Another process was faster, and what this run has received is of no use.
                    Leftovers::open(part_path, &target, &transfer.source().url)?.discard();
                }
                return Ok(Prepared::Skip(Skip::Exists));
            }
            (TargetState::Occupied(_), IfExists::Fail) => return Err(Error::Exists(target)),
            (TargetState::NotAFile, _) => return Err(Error::NotAFile(target)),
        }
        let commit_mode = match session.output.if_exists {
            IfExists::Overwrite => CommitMode::Replace,
            IfExists::Update if changed_since.is_some() => CommitMode::Replace,
            _ => CommitMode::NoReplace,
        };
        let replacement_path = replacement_path(&part_path);
        Ok(Prepared::Attempt(Self {
            transfer,
            session,
            target,
            part_path,
            replacement_path,
            changed_since,
            commit_mode,
            is_target_unchecked,
        }))
    }

    /// Reports the start of the download, and opens what earlier attempts have left of the file.
    fn open_leftovers(&mut self) -> Result<ResumeAction, Error> {
        let Self { transfer, session, target, .. } = self;
        if transfer.attempts == 0 {
            session.emit(&Event::Started(transfer.download, &transfer.progress));
        }
        transfer.attempts += 1;
        let leftovers = match self.is_target_unchecked {
            true => Leftovers::none(self.part_path.clone()),
            false => Leftovers::open(self.part_path.clone(), target, &transfer.source().url)?,
        };
        if let Some(message) = &leftovers.moved_aside {
            session.emit(&Event::Warning(message));
        }
        if let (1, Some(reason)) = (transfer.attempts, &leftovers.unusable_because) {
            session.emit(&Event::StartingOver(transfer.download, reason));
        }
        (self.part_path, self.replacement_path) = (leftovers.part_path, leftovers.replacement_path);
        Ok(match leftovers.part {
            Some(part) if part.received() > 0 => ResumeAction::Resume(part),
            part => ResumeAction::Fresh(part),
        })
    }

    /// Requests a file of which nothing has been received.
    fn fetch_whole(mut self, part: Option<PartFile>, worker: &mut Worker<'_>) -> Result<Outcome, Unfinished> {
        let requested = Instant::now();
        match self.request(None, worker)? {
            Reply::NotModified => {
                if let Some(part) = part {
                    part.discard();
                }
                Ok(Outcome::Skipped(Skip::Unchanged))
            }
            Reply::AlreadyComplete => Err(Error::Range("nothing was received, and nothing is missing").into()),
            Reply::Response(response) => self.land(*response, part, requested.elapsed(), worker),
        }
    }

    /// Requests what is missing, or the whole file where [`ResumePolicy`] says so.
    fn resume(mut self, part: PartFile, worker: &mut Worker<'_>) -> Result<Outcome, Unfinished> {
        if self.transfer.attempts == 1 {
            let counts = |sidecar: Sidecar| (sidecar.failed_resumes, sidecar.unusable_responses);
            let (failed, unusable) = part.sidecar().map_or((0, 0), counts);
            self.transfer.resume_policy = ResumePolicy::after(failed, unusable, self.session.retry.retries);
        }
        let ask = self.transfer.resume_policy.next_request();
        let requested = Instant::now();
        let reply = self.request(Some(&part).filter(|_| ask == Ask::Rest), worker);
        let latency = requested.elapsed();
        match reply {
            Ok(Reply::Response(response)) if response.is_partial() => self.land_rest(*response, part, latency, worker),
            Ok(Reply::Response(response))
                if ask == Ask::StartOver || !self.transfer.resume_policy.keeps_part_for_whole() =>
            {
                self.transfer.resume_policy = ResumePolicy::default();
                self.land(*response, Some(part), latency, worker)
            }
            Ok(Reply::Response(response)) => self.land_beside(*response, part, latency, worker),
            Ok(Reply::AlreadyComplete) => self.commit_complete(part),
            Ok(Reply::NotModified) => {
                part.discard();
                Ok(Outcome::Skipped(Skip::Unchanged))
            }
            Err(failure) => {
                // The redirects may lead elsewhere the next time.
                self.transfer.effective_url = None;
                self.transfer.resume_policy.request_failed(&failure);
                Err(Unfinished { failure, kept: self.keep(part) })
            }
        }
    }

    /// Requests the file, or what is missing of `part`; with `changed_since`, only if it has changed.
    fn request<'w>(&self, part: Option<&PartFile>, worker: &Worker<'w>) -> Result<Reply<'w>, Error> {
        let sidecar = part.and_then(PartFile::sidecar);
        let range = part.zip(sidecar.as_ref()).and_then(|(part, sidecar)| {
            // Where no gap is left, the server is to confirm that the file ends there.
            let (from, to) = part.shared().first_gap().unwrap_or((part.received(), None));
            Some(RangeRequest { from, to, validator: sidecar.validator.as_ref()?, length: sidecar.length })
        });
        let source = self.transfer.source();
        let request = Request {
            url: &source.url,
            headers: &source.headers,
            effective_url: self.transfer.effective_url.as_ref().filter(|_| range.is_some()),
            conditions: Conditions { range, changed_since: self.changed_since },
        };
        let download = self.transfer.download;
        worker.client.get(&request, |to| self.session.emit(&Event::Redirected(download, to)))
    }

    /// Receives a response and commits it. `part` is continued if the response is the rest of it, and otherwise replaced.
    fn land(
        &mut self,
        response: Response<'_>,
        part: Option<PartFile>,
        latency: Duration,
        worker: &mut Worker<'_>,
    ) -> Result<Outcome, Unfinished> {
        self.transfer.effective_url = response.redirect_target(&self.transfer.source().url);
        let landing = self.landing(&self.part_path, latency);
        self.receive_and_commit(&landing, response, part, &mut None, worker)
    }

    /// Receives the rest of `part`. Unless something comes of it, the attempt counts against resuming.
    fn land_rest(
        &mut self,
        response: Response<'_>,
        part: PartFile,
        latency: Duration,
        worker: &mut Worker<'_>,
    ) -> Result<Outcome, Unfinished> {
        let before = part.received();
        let (failed, unusable) = self.transfer.resume_policy.counts();
        part.note_failed_resumes(failed + 1, unusable);
        let result = self.land(response, Some(part), latency, worker);
        if let Err(Unfinished { failure, kept }) = &result {
            let policy = &mut self.transfer.resume_policy;
            if *kept > before { policy.part_grew() } else { policy.request_failed(failure) }
        }
        result
    }

    /// Receives a whole file beside `part`, which is kept until then. If it breaks off, the longer of the two is kept.
    fn land_beside(
        &mut self,
        response: Response<'_>,
        part: PartFile,
        latency: Duration,
        worker: &mut Worker<'_>,
    ) -> Result<Outcome, Unfinished> {
        let url = &self.transfer.source().url;
        let replacement = match PartFile::open_existing(&self.replacement_path, &self.target, url) {
            Ok(Existing { part, moved_aside, .. }) => {
                if let Some(message) = moved_aside {
                    self.session.emit(&Event::Warning(&message));
                }
                part
            }
            Err(failure) if failure.is_temporary() => {
                return Err(Unfinished { failure, kept: part.keep_for_resume() });
            }
            // Something else has that name. The file is worth more than the part.
            Err(_) => return self.land(response, Some(part), latency, worker),
        };
        let before = part.received();
        let mut superseded = Some(part);
        self.transfer.effective_url = response.redirect_target(url);
        let landing = self.landing(&self.replacement_path, latency);
        let result = self.receive_and_commit(&landing, response, replacement, &mut superseded, worker);
        // It is gone if the whole file was complete and about to get its name.
        let Some(part) = superseded else { return result };
        match result {
            Ok(outcome) => {
                part.discard();
                Ok(outcome)
            }
            Err(Unfinished { failure, kept }) if kept > before => {
                part.discard();
                self.transfer.resume_policy.part_grew();
                Err(Unfinished { failure, kept })
            }
            Err(Unfinished { failure, .. }) => self.after_failed_replacement(part, failure),
        }
    }

    /// Discards an incomplete whole file, and keeps `part`.
    fn after_failed_replacement(&mut self, part: PartFile, failure: Error) -> Result<Outcome, Unfinished> {
        self.transfer.effective_url = None;
        self.transfer.resume_policy.whole_failed();
        let url = &self.transfer.source().url;
        if let Some(shorter) = PartFile::open_replacement(&self.replacement_path, &self.target, url)? {
            shorter.discard();
        }
        let failure = if matches!(failure, Error::NoRoom { .. }) || failure.is_full_disk() {
            self.transfer.resume_policy.give_up_part();
            Error::Range("the disk has no room for the whole file beside the part")
        } else {
            failure
        };
        Err(Unfinished { failure, kept: self.keep(part) })
    }

    /// Commits a part file to which, the server says, nothing is missing.
    fn commit_complete(&mut self, mut part: PartFile) -> Result<Outcome, Unfinished> {
        let length = part.received();
        let content_encoding = part.sidecar().and_then(|sidecar| sidecar.validator?.content_encoding());
        let landing = self.landing(&self.part_path, Duration::ZERO);
        let resumed = part.resume(length);
        let sink = Sink::Part(part);
        match resumed {
            Ok(()) => {
                let (status, framing) = (RANGE_NOT_SATISFIABLE, Framing::Length(length));
                commit(&landing, Received { sink, status, framing, content_encoding }, &mut None)
            }
            Err(failure) => Err(landing.keep(sink, failure)),
        }
    }

    /// Receives a response and commits it. `superseded` is discarded when nothing but the name is missing.
    fn receive_and_commit(
        &self,
        landing: &Landing<'_>,
        response: Response<'_>,
        part: Option<PartFile>,
        superseded: &mut Option<PartFile>,
        worker: &mut Worker<'_>,
    ) -> Result<Outcome, Unfinished> {
        let length = response.framing().length();
        if let Some(failure) = self.object_to_length(length) {
            return Err(match part {
                Some(part) => landing.keep(Sink::Part(part), failure),
                None => failure.into(),
            });
        }
        if let Some(outcome) = self.recheck_target(length)? {
            return Ok(outcome);
        }
        let received = receive(landing, response, part, worker)?;
        commit(landing, received, superseded)
    }

    /// Why a file of an announced length is not wanted.
    fn object_to_length(&self, length: Option<u64>) -> Option<Error> {
        let length = length?;
        let expected = self.transfer.download.expected().length.filter(|expected| *expected != length);
        let limit = self.session.limits.max_filesize.filter(|limit| length > *limit);
        expected.map(|expected| Error::UnexpectedLength { length, expected }).or(limit.map(Error::TooLarge))
    }

    /// Looks at the target before a large body is received, where nobody has looked yet: a run that began at the same
    /// moment may have fetched the file.
    fn recheck_target(&self, length: Option<u64>) -> Result<Option<Outcome>, Error> {
        if !self.is_target_unchecked || length.is_some_and(|length| length <= RECHECK_FROM) {
            return Ok(None);
        }
        match (part::target_state(&self.target)?, self.session.output.if_exists) {
            (TargetState::Occupied(_), IfExists::Skip) => Ok(Some(Outcome::Skipped(Skip::Exists))),
            (TargetState::Occupied(_), IfExists::Fail) => Err(Error::Exists(self.target.clone())),
            _ => Ok(None),
        }
    }

    /// Keeps a part file for a later attempt, which may be another run's. Returns how many bytes are kept.
    fn keep(&self, part: PartFile) -> u64 {
        let (failed, unusable) = self.transfer.resume_policy.counts();
        part.note_failed_resumes(failed, unusable);
        part.keep_for_resume()
    }

    fn landing<'s>(&'s self, part_path: &'s Path, latency: Duration) -> Landing<'s> {
        Landing {
            download: self.transfer.download,
            source: self.transfer.source(),
            part_path,
            commit_mode: self.commit_mode,
            progress: Arc::clone(&self.transfer.progress),
            split_backoff: Arc::clone(&self.transfer.split_backoff),
            latency,
            session: self.session,
        }
    }
}
