//! Verifies a complete body and gives it its final name.

use super::claimed_names::ClaimedName;
use super::existing::skip_reason;
use super::outcome::{Fetched, Outcome, SkipReason, Unfinished};
use super::receive::Received;
use super::sink::{Destination, Sink};
use crate::error::Error;
use crate::options::IfExists;
use crate::part::{self, CommitMode, PartFile};
use crate::plan::Target;

/// Verifies a complete body and gives it its final name. Nothing else names files. `superseded`, an older part file of
/// the same download, is discarded just before.
///
/// # Errors
///
/// [`Unfinished`] if the file could not be given its name, with what was kept for the next attempt. If the name cannot
/// be synced to disk, the download fails although the file is there: a user of `--fsync` must learn that it may not
/// survive a power failure.
pub fn commit(
    destination: &Destination<'_>,
    received: Received<'_>,
    superseded: &mut Option<PartFile>,
) -> Result<Outcome, Unfinished> {
    let Received { mut sink, status, framing, content_encoding } = received;
    if let Sink::Part(part) = &sink {
        destination.report_moved_files(part);
    }
    let name = verify(&sink, destination)
        .and_then(|()| sink.write_out(destination))
        .and_then(|()| choose_name(&mut sink, destination, superseded));
    match name {
        Ok(Naming::Named(name)) => {
            let output = destination.session.output;
            let path = name.path_in(&output.directory);
            if output.fsync {
                part::sync_parent(&path)?;
            }
            let bytes = sink.length();
            Ok(Outcome::Fetched(Fetched { path, target: name, bytes, status, framing, content_encoding }))
        }
        Ok(Naming::Kept(reason)) => {
            sink.discard();
            Ok(Outcome::Skipped(reason))
        }
        Err(failure) => Err(destination.keep(sink, failure)),
    }
}

/// Checks a body against what its list entry expects. `Response::read` has checked it against what the server
/// announced, and `PartFile::commit` checks the file.
fn verify(sink: &Sink<'_>, destination: &Destination<'_>) -> Result<(), Error> {
    let expected = destination.download.expected();
    expected.check_length(sink.length())?;
    sink.check_digests(&expected.digests)
}

/// What became of a complete file.
enum Naming {
    /// It has this name.
    Named(Target),
    /// Another file that has its name is kept.
    Kept(SkipReason),
}

/// Gives the file its target's name, or another one if that is taken and files are to be renamed.
fn choose_name(
    sink: &mut Sink<'_>,
    destination: &Destination<'_>,
    superseded: &mut Option<PartFile>,
) -> Result<Naming, Error> {
    // Discarded first, so that a process killed in between leaves nothing beside a complete file.
    if let Some(part) = superseded.take() {
        part.discard();
    }
    let output = destination.session.output;
    let target = destination.target;
    let path = target.path_in(&output.directory);
    let reason_to_keep = || skip_reason(part::target_state(&path)?, &path, destination.download);
    if output.if_exists == IfExists::Update && destination.commit_mode == CommitMode::Replace {
        // It may have been replaced by another URL's file since the request.
        reason_to_keep()?;
    }
    if sink.try_name(&path, destination)? {
        return Ok(Naming::Named(target.clone()));
    }
    match output.if_exists {
        IfExists::Skip | IfExists::Update => reason_to_keep().map(Naming::Kept),
        IfExists::Overwrite if destination.remote_name.is_some_and(ClaimedName::is_numbered) => {
            take_next_name(sink, destination).map(Naming::Named)
        }
        IfExists::Overwrite | IfExists::Fail => Err(Error::Exists(path)),
        IfExists::Rename => take_next_name(sink, destination).map(Naming::Named),
    }
}

/// Gives the file the first numbered name that is neither taken nor that of another download.
fn take_next_name(sink: &mut Sink<'_>, destination: &Destination<'_>) -> Result<Target, Error> {
    let Destination { download, session, .. } = destination;
    let (wanted, mut number) = match destination.remote_name {
        Some(name) => (name.wanted(), name.next_number()),
        None => (destination.target, 2),
    };
    loop {
        let name = wanted.numbered(number);
        let is_free = match destination.remote_name {
            Some(_) => session.claimed_names.try_claim(&name, download, session.plan),
            None => !session.plan.contains(&name),
        };
        if is_free && sink.try_name(&name.path_in(&session.output.directory), destination)? {
            return Ok(name);
        }
        number += 1;
    }
}
