//! One attempt at a download: checks the target, decides what to request, sends the request, and passes the response on
//! to be received and committed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::commit::commit;
use super::directory::{create_directories_of, refuse_links};
use super::event::Event;
use super::existing::{Decision, decide};
use super::leftovers::{Leftovers, replacement_path};
use super::locate::locate;
use super::outcome::{Outcome, SkipReason, Unfinished};
use super::receive::{Received, receive};
use super::remote_name::{choose_remote_name, commit_mode, keeps_existing};
use super::resume_policy::{ResumePolicy, ResumeRequest};
use super::session::{Session, Worker};
use super::sink::{Destination, Sink};
use super::transfer::Transfer;
use crate::error::Error;
use crate::http::{Conditions, RangeRequest, Reply, Request, Response};
use crate::part::{self, CommitMode, Existing, PartFile, Sidecar};

/// Bodies up to this length are received without checking the target first.
const RECHECK_FROM: u64 = 1024 * 1024;

/// What earlier attempts left behind.
enum StartingPoint {
    /// Nothing has been received yet; an empty part file may be there.
    Fresh(Option<PartFile>),
    /// Some of the file has been received.
    Resume(PartFile),
}

/// Makes one attempt at a download: requests what is missing, receives it and commits the file. Usually that takes one
/// request; [`Client::get`](crate::http::Client::get) says when it takes more.
///
/// # Errors
///
/// [`Unfinished`], with what was kept for the next attempt.
pub fn run_attempt(
    transfer: &mut Transfer<'_>,
    session: &Session<'_>,
    worker: &mut Worker<'_>,
) -> Result<Outcome, Unfinished> {
    let mut attempt = match Attempt::prepare(transfer, session)? {
        Prepared::Skip(skip) => return Ok(Outcome::Skipped(skip)),
        Prepared::Attempt(attempt) => attempt,
    };
    attempt.report_start();
    match attempt.open_leftovers()? {
        StartingPoint::Fresh(part) => attempt.fetch_whole(part, worker),
        StartingPoint::Resume(part) => attempt.resume(part, worker),
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
    /// Whether the directory was empty when the run began and the target has not been checked since.
    is_target_unchecked: bool,
}

enum Prepared<'t, 'a> {
    Attempt(Attempt<'t, 'a>),
    Skip(SkipReason),
}

impl<'t, 'a> Attempt<'t, 'a> {
    /// Checks the target, and decides whether there is anything to fetch.
    fn prepare(transfer: &'t mut Transfer<'a>, session: &'t Session<'t>) -> Result<Prepared<'t, 'a>, Error> {
        let directory = &session.output.directory;
        refuse_links(transfer.download.target(), directory)?;
        let is_target_unchecked = transfer.attempts == 0 && session.output_was_empty;
        let state = locate(transfer, session)?;
        let name = transfer.located.as_ref().unwrap_or(transfer.download.target());
        let (target, part_path) = (name.path_in(directory), name.part_path_in(directory));
        let decision = decide(state, session.output.if_exists, &target, transfer.download);
        let is_part_useless = match &decision {
            Ok(Decision::Fetch { .. }) => false,
            Ok(Decision::Skip(_)) => true,
            Err(failure) => failure.makes_part_useless(),
        };
        if is_part_useless && transfer.attempts > 0 {
            // Another process finished first, so what this run has received is useless.
            Leftovers::open(part_path.clone(), &target, &transfer.source().url)?.discard();
        }
        let (changed_since, commit_mode) = match decision? {
            Decision::Fetch { changed_since, commit_mode } => (changed_since, commit_mode),
            Decision::Skip(reason) => {
                if transfer.attempts == 0 && session.listing.may_have_leftovers(transfer.download.id()) {
                    part::remove_orphans(&part_path, &target);
                    part::remove_orphans(&replacement_path(&part_path), &target);
                }
                return Ok(Prepared::Skip(reason));
            }
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

    /// Counts and reports the attempt; the first one is the start of the download.
    fn report_start(&mut self) {
        let Self { transfer, session, .. } = self;
        if transfer.attempts == 0 {
            session.emit(&Event::Started(transfer.download, &transfer.progress));
        } else {
            session.emit(&Event::TryingAgain(transfer.download));
        }
        transfer.attempts += 1;
    }

    /// Opens whatever earlier attempts and runs have left of the file.
    fn open_leftovers(&mut self) -> Result<StartingPoint, Error> {
        let Self { transfer, session, target, .. } = self;
        if self.is_target_unchecked {
            return Ok(StartingPoint::Fresh(None));
        }
        let leftovers = Leftovers::open(self.part_path.clone(), target, &transfer.source().url)?;
        if let Some(message) = &leftovers.moved_aside {
            session.emit(&Event::Warning(message));
        }
        if let (1, Some(reason)) = (transfer.attempts, &leftovers.unusable_because) {
            session.emit(&Event::StartingOver(transfer.download, reason));
        }
        (self.part_path, self.replacement_path) = (leftovers.part_path, leftovers.replacement_path);
        Ok(match leftovers.part {
            Some(part) if part.received() > 0 => StartingPoint::Resume(part),
            part => StartingPoint::Fresh(part),
        })
    }

    /// Requests a file of which nothing has been received.
    fn fetch_whole(mut self, part: Option<PartFile>, worker: &mut Worker<'_>) -> Result<Outcome, Unfinished> {
        match self.request(None, worker)? {
            Reply::NotModified => {
                if let Some(part) = part {
                    part.discard();
                }
                Ok(Outcome::Skipped(SkipReason::Unchanged))
            }
            Reply::AlreadyComplete => Err(Error::Range("nothing was received, and nothing is missing").into()),
            Reply::Response(response) => self.save(*response, part, worker),
        }
    }

    /// Requests what is missing, or the whole file where [`ResumePolicy`] says so.
    fn resume(mut self, part: PartFile, worker: &mut Worker<'_>) -> Result<Outcome, Unfinished> {
        if self.transfer.attempts == 1 {
            let counts = |sidecar: Sidecar| (sidecar.failed_resumes, sidecar.unusable_responses);
            let (failed, unusable) = part.sidecar().map_or((0, 0), counts);
            self.transfer.resume_policy = ResumePolicy::after(failed, unusable, self.session.retry.retries);
        }
        let kind = self.transfer.resume_policy.choose_request();
        let reply = self.request(Some(&part).filter(|_| kind == ResumeRequest::Rest), worker);
        match reply {
            Ok(Reply::Response(response)) if response.is_partial() => self.save_rest(*response, part, worker),
            Ok(Reply::Response(response))
                if kind == ResumeRequest::StartOver || !self.transfer.resume_policy.keeps_part_for_whole() =>
            {
                self.transfer.resume_policy = ResumePolicy::default();
                self.save(*response, Some(part), worker)
            }
            Ok(Reply::Response(response)) => self.save_alongside(*response, part, worker),
            Ok(Reply::AlreadyComplete) => self.commit_complete(part),
            Ok(Reply::NotModified) => {
                part.discard();
                Ok(Outcome::Skipped(SkipReason::Unchanged))
            }
            Err(failure) => {
                // The redirects may lead elsewhere the next time.
                self.transfer.effective_url = None;
                self.transfer.resume_policy.request_failed(&failure);
                Err(Unfinished { failure, kept: self.keep(part) })
            }
        }
    }

    /// Requests the file, or the bytes missing from `part`; with `changed_since`, only if it has changed.
    fn request<'w>(&mut self, part: Option<&PartFile>, worker: &Worker<'w>) -> Result<Reply<'w>, Error> {
        let sidecar = part.and_then(PartFile::sidecar);
        let range = part.zip(sidecar.as_ref()).and_then(|(part, sidecar)| {
            // If nothing is missing, the server must confirm that the file ends there.
            let (from, to) = part.shared().first_gap().unwrap_or((part.received(), None));
            Some(RangeRequest { from, to, validator: sidecar.validator.as_ref()?, length: sidecar.length })
        });
        let source = self.transfer.source();
        let request = Request {
            url: &source.url,
            headers: source.headers(),
            sends_common_headers: self.transfer.download.sends_common_headers_to(source),
            effective_url: self.transfer.effective_url.as_ref().filter(|_| range.is_some()),
            conditions: Conditions { range, changed_since: self.changed_since },
        };
        let download = self.transfer.download;
        let reply = worker.client.get(&request, |to| self.session.emit(&Event::Redirected(download, to)))?;
        choose_remote_name(self.transfer, self.session, &reply, part);
        Ok(reply)
    }

    /// Receives a response and commits it. Continues `part` if the response is the rest of it, and replaces it
    /// otherwise.
    fn save(
        &mut self,
        response: Response<'_>,
        part: Option<PartFile>,
        worker: &mut Worker<'_>,
    ) -> Result<Outcome, Unfinished> {
        self.transfer.effective_url = response.effective_url_unless(&self.transfer.source().url);
        let destination = self.destination(&self.part_path, response.timing().first_byte);
        self.receive_and_commit(&destination, response, part, &mut None, worker)
    }

    /// Receives the rest of `part`. If that brings no new bytes, the attempt counts as a failed resume.
    fn save_rest(
        &mut self,
        response: Response<'_>,
        part: PartFile,
        worker: &mut Worker<'_>,
    ) -> Result<Outcome, Unfinished> {
        let before = part.received();
        let (failed, unusable) = self.transfer.resume_policy.counts();
        part.note_failed_resumes(failed + 1, unusable);
        let result = self.save(response, Some(part), worker);
        if let Err(Unfinished { failure, kept }) = &result {
            let policy = &mut self.transfer.resume_policy;
            if *kept > before { policy.part_grew() } else { policy.request_failed(failure) }
        }
        result
    }

    /// Receives the whole file alongside `part`, which is kept until the new file is complete. If the transfer breaks
    /// off, the longer of the two is kept.
    fn save_alongside(
        &mut self,
        response: Response<'_>,
        part: PartFile,
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
            // The name for a second file is taken. Receive the file in place of the part file instead.
            Err(_) => return self.save(response, Some(part), worker),
        };
        let before = part.received();
        let mut superseded = Some(part);
        self.transfer.effective_url = response.effective_url_unless(url);
        let destination = self.destination(&self.replacement_path, response.timing().first_byte);
        let result = self.receive_and_commit(&destination, response, replacement, &mut superseded, worker);
        // `commit` has already discarded it if the whole file was complete.
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
        // Stopping the run says nothing about the server.
        if !matches!(failure, Error::Cancelled) {
            self.transfer.resume_policy.whole_failed();
        }
        let url = &self.transfer.source().url;
        if let Some(shorter) = PartFile::open_replacement(&self.replacement_path, &self.target, url)? {
            shorter.discard();
        }
        let failure = if matches!(failure, Error::NoRoom { .. }) || failure.is_full_disk() {
            self.transfer.resume_policy.give_up_part();
            Error::Range("the disk has no space for the whole file alongside the part file")
        } else {
            failure
        };
        Err(Unfinished { failure, kept: self.keep(part) })
    }

    /// Commits a part file that the server says is complete.
    fn commit_complete(&mut self, mut part: PartFile) -> Result<Outcome, Unfinished> {
        let destination = self.destination(&self.part_path, Duration::ZERO);
        match part.resume(part.received()) {
            Ok(()) => commit(&destination, Received::already_complete(part), &mut None),
            Err(failure) => Err(destination.keep(Sink::Part(part), failure)),
        }
    }

    /// Receives a response and commits it. `superseded` is discarded just before the file gets its final name, and is
    /// `None` then.
    fn receive_and_commit(
        &self,
        destination: &Destination<'_>,
        response: Response<'_>,
        mut part: Option<PartFile>,
        superseded: &mut Option<PartFile>,
        worker: &mut Worker<'_>,
    ) -> Result<Outcome, Unfinished> {
        let length = response.framing().length();
        if let Err(failure) = self.check_announced_length(length) {
            return Err(match part {
                Some(part) => destination.keep(Sink::Part(part), failure),
                None => failure.into(),
            });
        }
        if let Some(outcome) = self.recheck_target(length)? {
            return Ok(outcome);
        }
        create_directories_of(self.transfer.download.target(), self.session.output)?;
        if let Some(reason) = keeps_existing(destination, &mut part)? {
            return Ok(Outcome::Skipped(reason));
        }
        worker.timing = Some(response.timing());
        let received = receive(destination, response, part, worker)?;
        commit(destination, received, superseded)
    }

    /// Checks the announced length of a file before its body is received.
    fn check_announced_length(&self, length: Option<u64>) -> Result<(), Error> {
        let Some(length) = length else { return Ok(()) };
        self.transfer.download.expected().check_length(length)?;
        match self.session.limits.max_filesize {
            Some(limit) if length > limit => Err(Error::TooLarge(limit)),
            _ => Ok(()),
        }
    }

    /// Checks the target before a large body is received, if it has not been checked yet: a run that began at the same
    /// moment may have fetched the file. The name that a server chose is checked by [`keeps_existing`].
    fn recheck_target(&self, length: Option<u64>) -> Result<Option<Outcome>, Error> {
        let is_short = length.is_some_and(|length| length <= RECHECK_FROM);
        if !self.is_target_unchecked || is_short || self.transfer.remote_name.is_some() {
            return Ok(None);
        }
        let state = part::target_state(&self.target)?;
        match decide(state, self.session.output.if_exists, &self.target, self.transfer.download)? {
            Decision::Skip(reason) => Ok(Some(Outcome::Skipped(reason))),
            // The commit replaces nothing that has appeared, unless the user wants that.
            Decision::Fetch { .. } => Ok(None),
        }
    }

    /// Keeps a part file for a later attempt, which may be another run's. Returns how many bytes are kept.
    fn keep(&self, part: PartFile) -> u64 {
        let (failed, unusable) = self.transfer.resume_policy.counts();
        part.note_failed_resumes(failed, unusable);
        part.keep_for_resume()
    }

    fn destination<'s>(&'s self, part_path: &'s Path, latency: Duration) -> Destination<'s> {
        let remote_name = self.transfer.remote_name.as_ref();
        Destination {
            download: self.transfer.download,
            source: self.transfer.source(),
            part_path,
            commit_mode: commit_mode(self.commit_mode, remote_name),
            target: self.transfer.target(),
            remote_name,
            progress: Arc::clone(&self.transfer.progress),
            split_backoff: Arc::clone(&self.transfer.split_backoff),
            latency,
            session: self.session,
        }
    }
}
