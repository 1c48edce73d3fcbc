//! Receives the body of a response into a sink: a small one into memory, any other into a part file, to which other
//! threads may contribute segments.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::body::{InterruptWhenOver, copy_body, read_body};
use super::outcome::Unfinished;
use super::session::Worker;
use super::sink::{Destination, Sink, SmallBody, to_part};
use super::split::{SplitDownload, fetch_segment};
use crate::error::Error;
use crate::http::{Framing, Response};
use crate::part::{CommitMode, PartFile, SegmentWriter};

/// A body up to this length, which fits in a worker's buffer, is received completely before any file is created.
const MAX_SMALL_BODY: u64 = 64 * 1024;

/// How often a thread waiting for other threads' segments checks whether it has something to do.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A small body that pauses for this long, or for 1.5 times as long as its response took if that is longer, moves to a part
/// file. Then other connections can help, as with any other file.
const MIN_PAUSE: Duration = Duration::from_millis(100);

/// A complete body, with what the response said about it.
pub struct Received<'b> {
    pub sink: Sink<'b>,
    pub status: u16,
    pub framing: Framing,
    pub content_encoding: Option<String>,
}

impl<'b> Received<'b> {
    /// A part file that the server says is complete.
    pub fn already_complete(part: PartFile) -> Self {
        /// The status of a response that says so.
        const RANGE_NOT_SATISFIABLE: u16 = 416;
        let content_encoding = part.sidecar().and_then(|sidecar| sidecar.validator?.content_encoding());
        let framing = Framing::Length(part.received());
        Self { sink: Sink::Part(part), status: RANGE_NOT_SATISFIABLE, framing, content_encoding }
    }
}

/// Receives a body. If the response is the rest of `part`, it continues that; otherwise a new part file replaces it.
///
/// # Errors
///
/// [`Unfinished`] if the body is incomplete, with what was kept for the next attempt.
pub fn receive<'w>(
    destination: &Destination<'_>,
    mut response: Response<'w>,
    part: Option<PartFile>,
    worker: &'w mut Worker<'_>,
) -> Result<Received<'w>, Unfinished> {
    let (status, framing, content_encoding) = (response.status(), response.framing(), response.content_encoding());
    let received = |sink| Received { sink, status, framing, content_encoding };
    if part.is_none() && is_small(&response, destination) {
        let filled = receive_small(destination, &mut response, &mut worker.buffer)?;
        if response.is_fully_read() {
            return Ok(received(Sink::Memory(SmallBody {
                bytes: &worker.buffer[..filled],
                response: Rc::new(response),
            })));
        }
        let part = to_part(&worker.buffer[..filled], &response, destination)?;
        let paused = Instant::now().checked_sub(longest_pause(destination));
        let finished = finish_part(part, destination, worker, |part, worker| {
            receive_into(part, destination, response, paused.unwrap_or_else(Instant::now), worker)
        });
        return finished.map(received);
    }
    let part = match part {
        Some(part) if is_rest(&response) => part,
        Some(part) => part.replace_with_empty()?,
        None => PartFile::create(destination.part_path)?,
    };
    let finished = finish_part(part, destination, worker, |part, worker| {
        start_part(part, destination, &response)?;
        receive_into(part, destination, response, Instant::now(), worker)
    });
    finished.map(received)
}

/// Receives into a part file, and keeps what has arrived if that fails.
fn finish_part<'b>(
    mut part: PartFile,
    destination: &Destination<'_>,
    worker: &mut Worker<'_>,
    receive: impl FnOnce(&mut PartFile, &mut Worker<'_>) -> Result<(), Error>,
) -> Result<Sink<'b>, Unfinished> {
    if !part.is_locked() {
        destination.session.warn_of_missing_locks();
    }
    match receive(&mut part, worker) {
        Ok(()) => Ok(Sink::Part(part)),
        Err(failure) => Err(destination.keep(Sink::Part(part), failure)),
    }
}

/// Whether a response continues a part file rather than starting a new one.
const fn is_rest(response: &Response<'_>) -> bool {
    response.is_partial() && response.framing().length().is_some()
}

fn is_small(response: &Response<'_>, destination: &Destination<'_>) -> bool {
    let is_short = response.framing().length().is_some_and(|length| length <= MAX_SMALL_BODY);
    is_short && destination.commit_mode == CommitMode::NoReplace
}

/// Receives a small body into the buffer: all of it, or what has arrived when it pauses and another connection could
/// help. Returns how much that is.
fn receive_small(
    destination: &Destination<'_>,
    response: &mut Response<'_>,
    buffer: &mut [u8],
) -> Result<usize, Unfinished> {
    destination.progress.begin(0, response.framing().length());
    let _connection = destination.progress.count_connection();
    let is_resumable = response.validator().is_some();
    let may_move = is_resumable && response.allows_ranges() && destination.session.splits.is_some();
    let pause = longest_pause(destination);
    let mut filled = 0;
    while !response.is_fully_read() {
        if may_move && !response.wait_for_more(pause) {
            break;
        }
        match read_body(response, &mut buffer[filled..], &destination.progress, destination.session) {
            Ok(count) => filled += count,
            Err(failure) if filled > 0 && is_resumable => {
                let part = to_part(&buffer[..filled], response, destination)?;
                return Err(Unfinished { failure, kept: part.keep_for_resume() });
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(filled)
}

fn longest_pause(destination: &Destination<'_>) -> Duration {
    MIN_PAUSE.max(destination.latency.saturating_mul(3) / 2)
}

/// Starts or resumes writing the part file, for a response that is the rest of it or the whole file.
fn start_part(part: &mut PartFile, destination: &Destination<'_>, response: &Response<'_>) -> Result<(), Error> {
    let length = response.framing().length();
    match length.filter(|_| is_rest(response)) {
        Some(length) => part.resume(length)?,
        None => part.start(&destination.source.url, response.validator().as_ref(), length)?,
    }
    if let Some(length) = length {
        part.reserve(length)?;
    }
    Ok(())
}

/// Receives what is left of a response into a part file. The last of it arrived at `arrived`. Other missing segments are
/// fetched as well, by this thread or by others.
fn receive_into(
    part: &mut PartFile,
    destination: &Destination<'_>,
    response: Response<'_>,
    arrived: Instant,
    worker: &mut Worker<'_>,
) -> Result<(), Error> {
    destination.session.checkpointer.watch(part);
    destination.progress.begin(part.received(), response.framing().length());
    let split = split_download(part, destination, &response).map(Arc::new);
    // Taken before the download is registered, or another thread could take it.
    let writer = part.shared().next_segment();
    let registry = destination.session.splits.as_ref().filter(|_| response.allows_ranges());
    let registration = split.as_ref().zip(registry).map(|(split, registry)| registry.register(split));
    let modified = response.last_modified();
    let first = receive_first(destination, response, arrived, writer, worker);
    destination.split_backoff.own_thread_finished(&first);
    receive_rest(part, destination, first, split.as_deref(), registration.is_some(), worker)?;
    if let Some(time) = modified {
        part.set_modified(time);
    }
    Ok(())
}

/// Returns what other threads need to fetch segments, if the file has a validator and a length.
fn split_download(part: &PartFile, destination: &Destination<'_>, response: &Response<'_>) -> Option<SplitDownload> {
    let validator = part.sidecar().and_then(|sidecar| sidecar.validator);
    let (validator, length) = validator.zip(response.framing().length())?;
    Some(SplitDownload {
        id: destination.download.id(),
        source: destination.source.clone(),
        sends_common_headers: destination.download.sends_common_headers_to(destination.source),
        effective_url: response.effective_url_unless(&destination.source.url),
        validator,
        length,
        part: Arc::clone(part.shared()),
        latency: destination.latency,
        progress: Arc::clone(&destination.progress),
        backoff: Arc::clone(&destination.split_backoff),
    })
}

/// Receives the body of the response that the attempt began with.
fn receive_first(
    destination: &Destination<'_>,
    mut response: Response<'_>,
    arrived: Instant,
    writer: Option<SegmentWriter>,
    worker: &mut Worker<'_>,
) -> Result<(), Error> {
    // Without a segment the file is empty.
    let Some(writer) = writer else { return Ok(()) };
    let _interruption = InterruptWhenOver::new(&writer, worker.client.interrupt());
    let _connection = destination.progress.count_connection();
    if !writer.accept_response(response.position(), response.range_end(), arrived) {
        return Err(Error::Range("it is not the missing range"));
    }
    let result = copy_body(&mut response, &writer, &mut worker.buffer, &destination.progress, destination.session);
    if let Err(Error::Range(_)) = result {
        destination.progress.subtract(writer.discard_written());
    }
    result
}

/// Fetches what is missing after the first body has ended or failed, and waits for the segments of other threads.
///
/// At the start of each round this thread has no segment. It takes one as long as nothing has failed. After a temporary
/// failure, other threads may still complete the file; some failures end the attempt for all of them.
fn receive_rest(
    part: &PartFile,
    destination: &Destination<'_>,
    first: Result<(), Error>,
    split: Option<&SplitDownload>,
    is_registered: bool,
    worker: &mut Worker<'_>,
) -> Result<(), Error> {
    let (shared, backoff) = (part.shared(), &destination.split_backoff);
    let mut result = first;
    loop {
        if result.as_ref().is_err_and(ends_attempt) {
            shared.stop();
            return result;
        }
        if shared.is_complete() {
            return Ok(());
        }
        let own = split.filter(|_| result.is_ok() && !backoff.is_paused());
        let taken = own.and_then(|split| Some((split, split.take_own_segment(is_registered)?)));
        if let Some((split, writer)) = taken {
            result = fetch_segment(split, &writer, destination.session, worker).map(drop);
            backoff.own_thread_finished(&result);
        } else if own.is_none() && shared.close_if_idle() {
            // Another thread failed to fetch what is missing.
            let expected = split.map_or(0, |split| split.length);
            let truncated = || Error::Truncated { received: part.received(), expected };
            return result.and(Err(backoff.take_failure().unwrap_or_else(truncated)));
        } else if destination.session.is_stopped() {
            result = Err(Error::Cancelled);
        } else {
            let started = Instant::now();
            shared.wait_for_writer(POLL_INTERVAL);
            backoff.waited(started.elapsed());
        }
    }
}

/// Whether a failure ends the attempt whatever the other threads receive.
fn ends_attempt(failure: &Error) -> bool {
    !failure.is_temporary()
        || matches!(
            failure,
            Error::Range(_) | Error::Locked { .. } | Error::PartChanged(_) | Error::Cancelled | Error::OutOfTime
        )
}
