//! Where the body of a response lands until it gets its final name: in memory, if it is small, or in a part file.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::event::{Event, Progress};
use super::outcome::Unfinished;
use super::session::Session;
use super::split::SplitBackoff;
use crate::error::Error;
use crate::http::Validator;
use crate::part::{CommitMode, LinkOutcome, PartFile, UnnamedFile};
use crate::plan::{Download, Source};

/// What is known beforehand about the place where a body lands.
pub struct Landing<'a> {
    pub download: &'a Download,
    pub source: &'a Source,
    pub part_path: &'a Path,
    pub commit_mode: CommitMode,
    pub progress: Arc<Progress>,
    pub split_backoff: Arc<SplitBackoff>,
    /// How long the server took to respond.
    pub latency: Duration,
    pub session: &'a Session<'a>,
}

impl Landing<'_> {
    /// Keeps what has arrived for the next attempt, unless the failure makes it useless.
    pub fn keep(&self, sink: Sink<'_>, failure: Error) -> Unfinished {
        let Sink::Part(part) = sink else { return failure.into() };
        self.report_moved_files(&part);
        let is_useless = matches!(
            failure,
            Error::Exists(_) | Error::PartGone(_) | Error::PartChanged(_) | Error::UnexpectedLength { .. }
        );
        if is_useless {
            part.discard();
            return failure.into();
        }
        Unfinished { failure, kept: part.keep_for_resume() }
    }

    /// Tells the user which files were moved aside for the part file.
    pub fn report_moved_files(&self, part: &PartFile) {
        for sentence in part.take_moved() {
            self.session.emit(&Event::Warning(&sentence));
        }
    }
}

/// A complete body without its final name.
pub enum Sink<'b> {
    /// A small body that is not in a file yet.
    Memory(SmallBody<'b>),
    /// A small body in a file without a name. Linking that into place costs half the system calls of a part file, and
    /// a killed run leaves nothing behind.
    Unnamed(UnnamedFile, SmallBody<'b>),
    Part(PartFile),
}

/// A body that was received whole, and what a part file of it would need.
#[derive(Clone)]
pub struct SmallBody<'b> {
    pub bytes: &'b [u8],
    pub validator: Option<Validator>,
    /// The announced length.
    pub length: Option<u64>,
    pub modified: Option<SystemTime>,
}

impl Sink<'_> {
    pub fn length(&self) -> u64 {
        match self {
            Self::Memory(body) | Self::Unnamed(_, body) => body.bytes.len() as u64,
            Self::Part(part) => part.received(),
        }
    }

    /// Writes what is only in memory to a file, and syncs the file if the user wants that.
    pub fn write_out(&mut self, landing: &Landing<'_>) -> Result<(), Error> {
        let output = landing.session.output;
        match self {
            Self::Memory(body) => {
                *self = match UnnamedFile::write(&output.directory, body.bytes, body.modified, output.fsync)? {
                    Some(file) => Self::Unnamed(file, body.clone()),
                    None => Self::Part(body.to_part(landing)?),
                };
                Ok(())
            }
            Self::Part(part) if output.fsync => part.sync(),
            Self::Unnamed(..) | Self::Part(_) => Ok(()),
        }
    }

    /// Gives the file its final name. `false` if something else has that name and is not to be replaced.
    pub fn give_name(&mut self, path: &Path, landing: &Landing<'_>) -> Result<bool, Error> {
        loop {
            match self {
                Self::Memory(_) => self.write_out(landing)?,
                Self::Unnamed(file, body) => match file.link(path)? {
                    LinkOutcome::Linked => return Ok(true),
                    LinkOutcome::NameTaken => return Ok(false),
                    LinkOutcome::Unsupported => *self = Self::Part(body.to_part(landing)?),
                },
                Self::Part(part) => {
                    let is_named = part.commit(path, landing.commit_mode)?;
                    if part.renamed_non_atomically() {
                        landing.session.warn_of_renames();
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
    /// Writes the body to a part file, where the file system has no unnamed files or it broke off and can be resumed.
    pub fn to_part(&self, landing: &Landing<'_>) -> Result<PartFile, Error> {
        let mut part = PartFile::create(landing.part_path)?;
        if let Err(failure) = self.fill(&mut part, landing) {
            return Err(landing.keep(Sink::Part(part), failure).failure);
        }
        Ok(part)
    }

    fn fill(&self, part: &mut PartFile, landing: &Landing<'_>) -> Result<(), Error> {
        part.start(&landing.source.url, self.validator.as_ref(), self.length)?;
        part.write(self.bytes)?;
        landing.report_moved_files(part);
        if let Some(time) = self.modified {
            part.set_modified(time);
        }
        if landing.session.output.fsync { part.sync() } else { Ok(()) }
    }
}
