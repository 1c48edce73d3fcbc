//! Fetching one segment of a file that is split.

use std::sync::Arc;
use std::time::Instant;

use super::registry::SplitDownload;
use crate::error::Error;
use crate::http::{Conditions, RangeRequest, Request};
use crate::part::SegmentWriter;
use crate::plan::Source;
use crate::run::body::{InterruptWhenOver, copy_body, is_irrelevant};
use crate::run::event::Event;
use crate::run::session::{Session, Worker};

/// A segment that an idle thread has taken from a running download. If dropped, it leaves the rest to other threads.
#[derive(Debug)]
pub struct SegmentTask {
    download: Arc<SplitDownload>,
    writer: SegmentWriter,
    started: Instant,
}

impl SegmentTask {
    /// Takes a segment of a download, if it can still be split. `is_trial` says whether the connection is only an
    /// attempt to find out if more of them make the download faster.
    pub fn take(download: Arc<SplitDownload>, is_trial: bool) -> Option<Self> {
        let writer = download.take_segment_for_helper(is_trial)?;
        Some(Self { download, writer, started: Instant::now() })
    }

    /// The download's position in the plan.
    pub fn id(&self) -> usize {
        self.download.id
    }

    /// The source that it is fetched from.
    pub fn source(&self) -> &Source {
        &self.download.source
    }

    /// Fetches the segment. Returns whether the server has sent any of it.
    pub fn run(&self, session: &Session<'_>, worker: &mut Worker<'_>) -> Result<bool, Error> {
        let (start, _) = self.writer.begin_request();
        // It may be over by now, and even the download.
        if !self.writer.is_over() {
            session.emit(&Event::Split(&session.plan[self.download.id], start));
        }
        fetch_segment(&self.download, &self.writer, session, worker)
    }

    /// Records how it went, and leaves what is missing to other threads.
    pub fn give_back(self, result: Result<(), Error>) {
        let Self { download, writer, started } = self;
        let took = started.elapsed();
        if result.is_ok() && !writer.has_written() {
            // It was over before its response came, which says nothing about the server.
            download.backoff.helper_was_not_needed(took);
        } else {
            download.backoff.helper_finished(result, took, writer.has_written());
        }
        // Dropped last: a thread that finds the segment free must also find the reason.
        drop(writer);
    }
}

/// Fetches a segment that was taken. Returns whether the server has sent any of it: if not, it was not needed any more.
///
/// # Errors
///
/// [`Error::Segment`] if the server does not serve it or serves something else; temporary failures are returned
/// unchanged.
pub fn fetch_segment(
    download: &SplitDownload,
    writer: &SegmentWriter,
    session: &Session<'_>,
    worker: &mut Worker<'_>,
) -> Result<bool, Error> {
    let SplitDownload { source, sends_common_headers, effective_url, validator, length, .. } = download;
    let _interruption = InterruptWhenOver::new(writer, worker.client.interrupt());
    let (from, to) = writer.begin_request();
    if to.is_some_and(|to| to <= from) {
        download.backoff.responded(true);
        return Ok(false);
    }
    let range = RangeRequest { from, to, validator, length: Some(*length) };
    let response = worker.client.get_range(&Request {
        url: &source.url,
        sends_common_headers: *sends_common_headers,
        headers: source.headers(),
        effective_url: effective_url.as_ref(),
        conditions: Conditions { range: Some(range), changed_since: None },
    });
    download.backoff.responded(response.is_ok());
    let mut response = match response {
        Ok(response) => response,
        Err(failure) if is_irrelevant(&failure, writer, session) => return Ok(false),
        Err(failure) => return Err(of_segment(failure)),
    };
    if !writer.accept_response(response.position(), response.range_end(), Instant::now()) {
        return Ok(true);
    }
    let _connection = download.progress.count_connection();
    let result = copy_body(&mut response, writer, &mut worker.buffer, &download.progress, session);
    match result {
        Err(failure @ Error::Range(_)) => {
            download.progress.subtract(writer.discard_written());
            Err(of_segment(failure))
        }
        result => result.map(|()| true),
    }
}

/// Keeps a permanent failure of one segment from counting as one of the whole file.
fn of_segment(failure: Error) -> Error {
    let is_of_transfer = failure.is_temporary() && !matches!(failure, Error::Range(_));
    if is_of_transfer { failure } else { Error::Segment(Box::new(failure)) }
}
