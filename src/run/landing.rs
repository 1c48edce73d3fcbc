//! From an answer to a file under its final name.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::body;
use super::context::{Context, Worker};
use super::event::{Event, Progress};
use super::help::{Helpable, Standing};
use super::outcome::{Fetched, Outcome, Skip, Unfinished};
use crate::error::Error;
use crate::http::{Framing, Response};
use crate::options::IfExists;
use crate::part::{self, CommitMode, Linked, PartFile, SegmentWriter, TargetState, UnnamedFile};
use crate::plan::{Download, SafeName};

/// A body no longer than this, which is less than a worker's buffer, is received whole before there is any file of it.
const SMALL_BODY: u64 = 64 * 1024;

/// Whoever waits for others to get their parts looks this often whether there is something else to do.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The status of the answer that there is no rest of a file.
const NO_REST: u16 = 416;

/// A body up to this long is not worth a look whether another process has the file meanwhile.
const UNSEEN: u64 = 1024 * 1024;

/// Where the body of one answer goes.
pub struct Landing<'a> {
    pub download: &'a Download,
    pub part_path: &'a Path,
    /// Whether nobody has looked yet what has the final name.
    pub is_unseen: bool,
    /// Whether what has the final name is to be replaced.
    pub commit: CommitMode,
    /// What is there of the file already and is of no use once the whole has come.
    pub superseded: Cell<Option<PartFile>>,
    pub progress: &'a Arc<Progress>,
    pub standing: &'a Arc<Standing>,
    /// How long the server took to answer.
    pub latency: Duration,
    pub context: &'a Context<'a>,
}

impl Landing<'_> {
    /// Receives an answer's body, after what is in `part` if it is the rest of that, and gives the file its name.
    pub fn receive(
        &self,
        answer: Response,
        part: Option<PartFile>,
        worker: &mut Worker<'_>,
    ) -> Result<Outcome, Unfinished> {
        let length = answer.framing().length();
        if let Some(most) = self.context.limits.max_filesize.filter(|most| length.is_some_and(|length| length > *most))
        {
            let failure = Error::TooLarge(most);
            let kept = part.map_or(0, |part| self.keep(part, &failure));
            return Err(Unfinished { failure, kept });
        }
        if let Some(outcome) = self.look_again(length)? {
            return Ok(outcome);
        }
        if part.is_none() && self.is_small(&answer) {
            return self.receive_small(answer, &mut worker.buffer);
        }
        let mut part = match part {
            Some(part) if is_rest(&answer) => part,
            Some(part) => part.renew()?,
            None => PartFile::create(self.part_path)?,
        };
        if !part.is_locked() {
            self.context.control.warn_of_no_locks(self.context.reporter);
        }
        let (status, framing, encoding) = (answer.status(), answer.framing(), answer.content_encoding());
        match self.receive_into(&mut part, answer, worker) {
            Ok(()) => self.finish(part, status, framing, encoding),
            Err(failure) => {
                let kept = self.keep(part, &failure);
                Err(Unfinished { failure, kept })
            }
        }
    }

    /// Gives a part file its name that has everything already, by the server's word.
    pub fn finish_part(&self, mut part: PartFile) -> Result<Outcome, Unfinished> {
        let length = part.received();
        let encoding = part.sidecar().and_then(|sidecar| sidecar.validator?.content_encoding());
        match part.resume(length) {
            Ok(()) => self.finish(part, NO_REST, Framing::Length(length), encoding),
            Err(failure) => {
                let kept = self.keep(part, &failure);
                Err(Unfinished { failure, kept })
            }
        }
    }

    /// Looks at the final name before a large body is received, where nobody has: a run that began at the same moment
    /// may have the file.
    fn look_again(&self, length: Option<u64>) -> Result<Option<Outcome>, Error> {
        if !self.is_unseen || length.is_some_and(|length| length <= UNSEEN) {
            return Ok(None);
        }
        let path = self.path(&self.download.target);
        match (part::target_state(&path)?, self.context.output.if_exists) {
            (TargetState::Occupied(_), IfExists::Skip) => Ok(Some(Outcome::Skipped(Skip::Exists))),
            (TargetState::Occupied(_), IfExists::Fail) => Err(Error::Exists(path)),
            _ => Ok(None),
        }
    }

    fn is_small(&self, answer: &Response) -> bool {
        answer.framing().length().is_some_and(|length| length <= SMALL_BODY) && self.commit == CommitMode::NoReplace
    }

    /// All of a small body, and only then a file.
    fn receive_small(&self, mut answer: Response, buffer: &mut [u8]) -> Result<Outcome, Unfinished> {
        self.progress.begin(0, answer.framing().length());
        let mut active = 0;
        while !answer.is_read() {
            match body::read(&mut answer, &mut buffer[active..], self.progress, self.context) {
                Ok(0) => break,
                Ok(count) => active += count,
                Err(failure) => {
                    let mut kept = 0;
                    if active > 0 && answer.validator().is_some() {
                        kept = self.part_of(&answer, &buffer[..active])?.keep_for_resume();
                    }
                    return Err(Unfinished { failure, kept });
                }
            }
        }
        let (bytes, modified) = (&buffer[..active], answer.last_modified());
        if let Some(file) =
            UnnamedFile::write(&self.context.output.directory, bytes, modified, self.context.output.fsync)?
        {
            let mut is_possible = true;
            let name = self.settle(|path| {
                let linked = file.link(path)?;
                is_possible = linked != Linked::Unsupported;
                Ok(linked != Linked::NameTaken)
            })?;
            if is_possible {
                let (status, framing, encoding) = (answer.status(), answer.framing(), answer.content_encoding());
                return Ok(self.outcome(name, active as u64, status, framing, encoding)?);
            }
        }
        let part = self.part_of(&answer, bytes)?;
        if let Some(time) = modified {
            part.set_modified(time);
        }
        self.finish(part, answer.status(), answer.framing(), answer.content_encoding())
    }

    /// A part file of bytes that are there already.
    fn part_of(&self, answer: &Response, bytes: &[u8]) -> Result<PartFile, Error> {
        let mut part = PartFile::create(self.part_path)?;
        let start = part.start(&self.download.url, answer.validator().as_ref(), answer.framing().length());
        match start.and_then(|()| part.write(bytes)) {
            Ok(()) => Ok(part),
            Err(failure) => {
                self.keep(part, &failure);
                Err(failure)
            }
        }
    }

    /// A body into the part file, as served; and with it, or after it, whatever else is missing.
    fn receive_into(&self, part: &mut PartFile, answer: Response, worker: &mut Worker<'_>) -> Result<(), Error> {
        let helpable = self.begin(part, &answer)?.map(Arc::new);
        // Before anyone else may take it.
        let writer = part.shared().next_segment();
        let board = self.context.board.filter(|_| answer.allows_ranges());
        let offer = helpable.as_ref().zip(board).map(|(helpable, board)| board.offer(helpable));
        let modified = answer.last_modified();
        let first = self.receive_first(answer, writer, worker);
        self.standing.ended(&first);
        self.receive_rest(part, first, helpable.as_ref(), offer.is_some(), worker)?;
        if let Some(time) = modified {
            part.set_modified(time);
        }
        Ok(())
    }

    /// Gets what is missing after the first body came to its end, or failed, and waits for what others get.
    ///
    /// This thread has no piece at the beginning of each round. It takes one while nothing has failed; after a failure
    /// that may pass, others may still get everything. A failure that nobody can mend ends it for all.
    fn receive_rest(
        &self,
        part: &PartFile,
        first: Result<(), Error>,
        helpable: Option<&Arc<Helpable>>,
        is_shared: bool,
        worker: &mut Worker<'_>,
    ) -> Result<(), Error> {
        let mut result = first;
        loop {
            if result.as_ref().is_err_and(ends_all) {
                part.shared().stop();
                return result;
            }
            if part.shared().is_complete() {
                return Ok(());
            }
            let own = helpable.filter(|_| result.is_ok() && !self.standing.is_left_alone());
            if let Some((helpable, writer)) = own.and_then(|helpable| Some((helpable, helpable.take_own(is_shared)?))) {
                result = helpable.get(&writer, self.download, self.context, worker);
                self.standing.ended(&result);
            } else if own.is_none() && part.shared().close_if_idle() {
                // Another thread was to get what is missing.
                let expected = helpable.map_or(0, |helpable| helpable.length);
                let truncated = || Error::Truncated { received: part.received(), expected };
                return result.and(Err(self.standing.take_failure().unwrap_or_else(truncated)));
            } else if self.context.control.is_cancelled() {
                result = Err(Error::Cancelled);
            } else {
                self.wait_for_others(part);
            }
        }
    }

    /// Makes the part file ready for an answer. What others need to help, where a part can be proven to be one.
    fn begin(&self, part: &mut PartFile, answer: &Response) -> Result<Option<Helpable>, Error> {
        let length = answer.framing().length();
        match length.filter(|_| is_rest(answer)) {
            Some(length) => part.resume(length)?,
            None => part.start(&self.download.url, answer.validator().as_ref(), length)?,
        }
        if let Some(length) = length {
            part.reserve(length)?;
        }
        self.context.checkpointer.watch(part);
        self.progress.begin(part.received(), length);
        let validator = part.sidecar().and_then(|sidecar| sidecar.validator);
        Ok(validator.zip(length).map(|(validator, length)| Helpable {
            id: self.download.id,
            shared: Arc::clone(part.shared()),
            validator,
            effective_url: answer.redirect_target(&self.download.url),
            length,
            latency: self.latency,
            progress: Arc::clone(self.progress),
            standing: Arc::clone(self.standing),
        }))
    }

    /// The body of the answer that the attempt began with.
    fn receive_first(
        &self,
        mut answer: Response,
        writer: Option<SegmentWriter>,
        worker: &mut Worker<'_>,
    ) -> Result<(), Error> {
        match writer {
            Some(writer) if writer.accept_response(answer.position(), answer.range_end()) => {
                let result = body::receive(&mut answer, &writer, &mut worker.buffer, self.progress, self.context);
                if let Err(Error::Range(_)) = result {
                    self.progress.take_back(writer.discard_written());
                }
                result
            }
            Some(_) => Err(Error::Range("it is not what is missing")),
            // The file is empty.
            None => Ok(()),
        }
    }

    /// Waits for those who get other parts, or until there may be something to do again.
    fn wait_for_others(&self, part: &PartFile) {
        let begun = Instant::now();
        part.shared().wait_for_writer(LOOK_AGAIN);
        self.standing.waited(begun.elapsed());
    }

    /// Gives a whole part file its final name.
    fn finish(
        &self,
        part: PartFile,
        status: u16,
        framing: Framing,
        encoding: Option<String>,
    ) -> Result<Outcome, Unfinished> {
        self.tell_moved(&part);
        let settled = self.sync(&part).and_then(|()| self.settle(|path| part.commit(path, self.commit)));
        let bytes = part.received();
        match settled {
            Ok(name) => {
                if part.renamed_non_atomically() {
                    self.context.control.warn_of_renames(self.context.reporter);
                }
                if name.is_none() {
                    part.discard();
                }
                Ok(self.outcome(name, bytes, status, framing, encoding)?)
            }
            Err(failure) => {
                let kept = self.keep(part, &failure);
                Err(Unfinished { failure, kept })
            }
        }
    }

    /// Keeps what has arrived for the next attempt, unless the failure says that it is of no use. Says how much is kept.
    fn keep(&self, part: PartFile, failure: &Error) -> u64 {
        self.tell_moved(&part);
        if matches!(failure, Error::Exists(_) | Error::PartGone(_) | Error::PartChanged(_)) {
            part.discard();
            return 0;
        }
        part.keep_for_resume()
    }

    /// Says which files of the user's were in the way.
    fn tell_moved(&self, part: &PartFile) {
        for sentence in part.take_moved() {
            self.context.reporter.event(&Event::Warning(&sentence));
        }
    }

    /// The bytes of a file that is to have its name, onto the disk.
    fn sync(&self, part: &PartFile) -> Result<(), Error> {
        if self.context.output.fsync { part.sync() } else { Ok(()) }
    }

    /// Finds the final name with `give`, which says whether a path could be taken. `None`: a file that appeared
    /// meanwhile was left alone.
    fn settle(&self, mut give: impl FnMut(&Path) -> Result<bool, Error>) -> Result<Option<SafeName>, Error> {
        // First, so that a process that is killed between the two leaves nothing beside the whole file.
        if let Some(part) = self.superseded.take() {
            part.discard();
        }
        let target = &self.download.target;
        if give(&self.path(target))? {
            return Ok(Some(target.clone()));
        }
        match self.context.output.if_exists {
            IfExists::Skip | IfExists::Update if part::target_state(&self.path(target))? == TargetState::NotAFile => {
                Err(Error::NotAFile(self.path(target)))
            }
            IfExists::Skip | IfExists::Update => Ok(None),
            IfExists::Overwrite | IfExists::Fail => Err(Error::Exists(self.path(target))),
            IfExists::Rename => {
                let mut number = 2;
                loop {
                    let name = target.numbered(number);
                    if !self.context.plan.uses(&name) && give(&self.path(&name))? {
                        return Ok(Some(name));
                    }
                    number += 1;
                }
            }
        }
    }

    fn path(&self, name: &SafeName) -> PathBuf {
        self.context.output.directory.join(name.as_str())
    }

    fn outcome(
        &self,
        name: Option<SafeName>,
        bytes: u64,
        status: u16,
        framing: Framing,
        content_encoding: Option<String>,
    ) -> Result<Outcome, Error> {
        let Some(name) = name else { return Ok(Outcome::Skipped(Skip::Exists)) };
        if self.context.output.fsync {
            part::sync_directory(&self.context.output.directory)?;
        }
        Ok(Outcome::Fetched(Fetched { path: self.path(&name), name, bytes, status, framing, content_encoding }))
    }
}

/// Whether an answer continues a part file, and is not the beginning of a new one.
const fn is_rest(answer: &Response) -> bool {
    answer.is_part() && answer.framing().length().is_some()
}

/// Whether a failure ends the whole attempt, whatever others get.
fn ends_all(failure: &Error) -> bool {
    !failure.is_temporary()
        || matches!(
            failure,
            Error::Range(_) | Error::Locked { .. } | Error::PartChanged(_) | Error::Cancelled | Error::OutOfTime
        )
}
