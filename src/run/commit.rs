//! Verifies a complete body and gives it its final name.

use super::outcome::{Fetched, Outcome, Skip, Unfinished};
use super::receive::Received;
use super::sink::{Landing, Sink};
use crate::error::Error;
use crate::options::IfExists;
use crate::part::{self, PartFile, TargetState};
use crate::plan::Target;

/// Verifies what was received, and then gives it its final name: the only way to one. `superseded`, an older part file of
/// the same download, is discarded as the last step before.
///
/// # Errors
///
/// Why there is no file under the final name, and how much is kept for the next attempt.
pub fn commit(
    landing: &Landing<'_>,
    received: Received<'_>,
    superseded: &mut Option<PartFile>,
) -> Result<Outcome, Unfinished> {
    let Received { mut sink, status, framing, content_encoding } = received;
    if let Sink::Part(part) = &sink {
        landing.report_moved_files(part);
    }
    let name = verify(&sink, landing)
        .and_then(|()| sink.write_out(landing))
        .and_then(|()| give_name(&mut sink, landing, superseded));
    match name {
        Ok(Some(name)) => {
            let output = landing.session.output;
            if output.fsync {
                part::sync_directory(&output.directory)?;
            }
            let (path, bytes) = (name.path_in(&output.directory), sink.length());
            Ok(Outcome::Fetched(Fetched { path, name, bytes, status, framing, content_encoding }))
        }
        Ok(None) => {
            sink.discard();
            Ok(Outcome::Skipped(Skip::Exists))
        }
        Err(failure) => Err(landing.keep(sink, failure)),
    }
}

/// Checks a body against what its list entry expects. It was checked against what the server announced while it was
/// received.
fn verify(sink: &Sink<'_>, landing: &Landing<'_>) -> Result<(), Error> {
    let length = sink.length();
    match landing.download.expected().length {
        Some(expected) if expected != length => Err(Error::UnexpectedLength { length, expected }),
        _ => Ok(()),
    }
}

/// Gives the file its target's name, or another one if that is taken and files are to be renamed. `None` if a file that
/// appeared meanwhile stays.
fn give_name(
    sink: &mut Sink<'_>,
    landing: &Landing<'_>,
    superseded: &mut Option<PartFile>,
) -> Result<Option<Target>, Error> {
    // Before the file has its name: a process killed in between leaves nothing beside a complete file.
    if let Some(part) = superseded.take() {
        part.discard();
    }
    let output = landing.session.output;
    let target = landing.download.target();
    let path = target.path_in(&output.directory);
    if sink.give_name(&path, landing)? {
        return Ok(Some(target.clone()));
    }
    match output.if_exists {
        IfExists::Skip | IfExists::Update if part::target_state(&path)? == TargetState::NotAFile => {
            Err(Error::NotAFile(path))
        }
        IfExists::Skip | IfExists::Update => Ok(None),
        IfExists::Overwrite | IfExists::Fail => Err(Error::Exists(path)),
        IfExists::Rename => {
            let mut number = 2;
            loop {
                let name = target.numbered(number);
                let is_planned = landing.session.plan.contains(&name);
                if !is_planned && sink.give_name(&name.path_in(&output.directory), landing)? {
                    return Ok(Some(name));
                }
                number += 1;
            }
        }
    }
}
