//! The sink for the body of a response: memory if it is small, a part file otherwise. It keeps the body until that gets
//! its final name.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::claimed_names::ClaimedName;
use super::event::{Event, Progress};
use super::outcome::Unfinished;
use super::session::Session;
use super::split::SplitBackoff;
use crate::digest::Digest;
use crate::error::Error;
use crate::http::Response;
use crate::part::{self, CommitMode, FileMetadata, LinkOutcome, PartFile, UnnamedFile};
use crate::plan::{Download, Source, Target};

/// Where the body of a response goes, and what receiving and committing it need.
pub struct Destination<'a> {
    pub download: &'a Download,
    pub source: &'a Source,
    pub part_path: &'a Path,
    pub commit_mode: CommitMode,
    /// The target that the finished file is to have.
    pub target: &'a Target,
    /// The name that the server chose, where it names files.
    pub remote_name: Option<&'a ClaimedName>,
    pub progress: Arc<Progress>,
    pub split_backoff: Arc<SplitBackoff>,
    /// How long the server took to respond.
    pub latency: Duration,
    pub session: &'a Session<'a>,
}

impl Destination<'_> {
    /// Keeps what has arrived for the next attempt, unless the failure makes it useless.
    pub fn keep(&self, sink: Sink<'_>, failure: Error) -> Unfinished {
        let Sink::Part(part) = sink else { return failure.into() };
        self.report_moved_files(&part);
        if failure.makes_part_useless() {
            part.discard();
            return failure.into();
        }
        Unfinished { failure, kept: part.keep_for_resume() }
    }

    /// Tells the user which files were moved aside for the part file.
    pub fn report_moved_files(&self, part: &PartFile) {
        for message in part.take_moved() {
            self.session.emit(&Event::Warning(&message));
        }
    }
}

/// A body that does not have its final name yet.
pub enum Sink<'b> {
    /// A small body that is not in a file yet.
    Memory(SmallBody<'b>),
    /// A small body in a file without a name. Linking that into place costs half the system calls of a part file, and
    /// a killed run leaves nothing behind.
    Unnamed(UnnamedFile, SmallBody<'b>),
    Part(PartFile),
}

/// A body in memory. Its response says what a part file of it would need, which is rarely asked for.
#[derive(Clone)]
pub struct SmallBody<'b> {
    pub bytes: &'b [u8],
    pub response: Rc<Response<'b>>,
}

impl Sink<'_> {
    pub fn length(&self) -> u64 {
        match self {
            Self::Memory(body) | Self::Unnamed(_, body) => body.bytes.len() as u64,
            Self::Part(part) => part.received(),
        }
    }

    /// Checks the body against all of the digests.
    pub fn check_digests(&self, digests: &[Digest]) -> Result<(), Error> {
        match self {
            Self::Memory(body) | Self::Unnamed(_, body) => part::check_bytes(body.bytes, digests),
            Self::Part(part) => part.check_digests(digests),
        }
    }

    /// Writes what is only in memory to a file, marks the file with its source, and syncs it if the user wants that.
    pub fn write_out(&mut self, destination: &Destination<'_>) -> Result<(), Error> {
        let output = destination.session.output;
        match self {
            Self::Memory(body) => {
                let directory = destination.part_path.parent().unwrap_or(&output.directory);
                let (modified, source) = (body.response.last_modified(), Some(destination.source.url.source_id()));
                let metadata = FileMetadata { modified, source };
                *self = match UnnamedFile::write(directory, body.bytes, metadata, output.fsync)? {
                    Some(file) => Self::Unnamed(file, body.clone()),
                    None => Self::Part(body.to_finished_part(destination)?),
                };
                Ok(())
            }
            Self::Part(part) => finish(part, destination),
            Self::Unnamed(..) => Ok(()),
        }
    }

    /// Gives the file its final name. Returns `false` if the name is taken and must not be replaced.
    pub fn try_name(&mut self, path: &Path, destination: &Destination<'_>) -> Result<bool, Error> {
        loop {
            match self {
                // Only if `write_out` was not called before.
                Self::Memory(_) => self.write_out(destination)?,
                Self::Unnamed(file, body) => match file.link(path)? {
                    LinkOutcome::Linked => return Ok(true),
                    LinkOutcome::NameTaken => return Ok(false),
                    LinkOutcome::Unsupported => *self = Self::Part(body.to_finished_part(destination)?),
                },
                Self::Part(part) => {
                    let is_named = part.commit(path, destination.commit_mode)?;
                    if part.renamed_non_atomically() {
                        destination.session.warn_of_renames();
                    }
                    return Ok(is_named);
                }
            }
        }
    }

    /// Discards a body that is not needed.
    pub fn discard(self) {
        if let Self::Part(part) = self {
            part.discard();
        }
    }
}

impl SmallBody<'_> {
    /// Writes the body to a part file that will be committed, and finishes that.
    fn to_finished_part(&self, destination: &Destination<'_>) -> Result<PartFile, Error> {
        let part = to_part(self.bytes, &self.response, destination)?;
        match finish(&part, destination) {
            Ok(()) => Ok(part),
            Err(failure) => Err(destination.keep(Sink::Part(part), failure).failure),
        }
    }
}

/// Marks a complete part file with its source, and then syncs it if the user wants that.
fn finish(part: &PartFile, destination: &Destination<'_>) -> Result<(), Error> {
    // The URL of the list, not the one that redirects led to: that is often signed, and another one each time.
    part.mark_source(destination.source.url.source_id());
    if destination.session.output.fsync { part.sync() } else { Ok(()) }
}

/// Writes what has arrived of a small body to a part file.
pub fn to_part(bytes: &[u8], response: &Response<'_>, destination: &Destination<'_>) -> Result<PartFile, Error> {
    let mut part = PartFile::create(destination.part_path)?;
    if let Err(failure) = fill(&mut part, bytes, response, destination) {
        return Err(destination.keep(Sink::Part(part), failure).failure);
    }
    Ok(part)
}

fn fill(
    part: &mut PartFile,
    bytes: &[u8],
    response: &Response<'_>,
    destination: &Destination<'_>,
) -> Result<(), Error> {
    part.start(&destination.source.url, response.validator().as_ref(), response.framing().length())?;
    part.write(bytes)?;
    destination.report_moved_files(part);
    if let Some(time) = response.last_modified() {
        part.set_modified(time);
    }
    Ok(())
}
