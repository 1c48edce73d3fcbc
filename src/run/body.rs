//! Copies the body of a response into a segment of a part file.

use std::sync::Arc;
use std::task::Waker;

use super::event::Progress;
use super::session::Session;
use crate::error::Error;
use crate::http::{Interrupt, Response};
use crate::part::SegmentWriter;

/// Copies a body into a segment, until the segment has nothing more to write or the body ends. Whatever happens to the
/// connection of a segment that is over is no failure.
pub fn copy_body(
    response: &mut Response<'_>,
    writer: &SegmentWriter,
    buffer: &mut [u8],
    progress: &Progress,
    session: &Session<'_>,
) -> Result<(), Error> {
    loop {
        let count = match read_to_end_of_range(response, buffer, progress, session) {
            Ok(0) => {
                writer.body_ended();
                return Ok(());
            }
            Ok(count) => count,
            Err(failure) if is_irrelevant(&failure, writer, session) => return Ok(()),
            Err(failure) => return Err(failure),
        };
        if let Some(limit) = session.limits.max_filesize.filter(|limit| response.position() > *limit) {
            return Err(Error::TooLarge(limit));
        }
        let written = writer.write(&buffer[..count])?;
        progress.add_received(written.count);
        if !written.has_more || response.is_fully_read() {
            return Ok(());
        }
    }
}

/// Reads the next bytes of a body. The last ones of its range are returned only when the body has ended there: a
/// response that is longer than its range is not of this file, and without its end the connection is not reused.
fn read_to_end_of_range(
    response: &mut Response<'_>,
    buffer: &mut [u8],
    progress: &Progress,
    session: &Session<'_>,
) -> Result<usize, Error> {
    let count = read_chunk(response, buffer, session)?;
    progress.add_transferred(count as u64);
    if count > 0 && response.is_fully_read() {
        response.read(&mut [0])?;
    }
    Ok(count)
}

/// Reads the next bytes of a body and counts them; 0 at its end.
pub fn read_body(
    response: &mut Response<'_>,
    buffer: &mut [u8],
    progress: &Progress,
    session: &Session<'_>,
) -> Result<usize, Error> {
    let count = read_chunk(response, buffer, session)?;
    progress.add_transferred(count as u64);
    progress.add_received(count as u64);
    Ok(count)
}

fn read_chunk(response: &mut Response<'_>, buffer: &mut [u8], session: &Session<'_>) -> Result<usize, Error> {
    if session.is_stopped() { Err(Error::Cancelled) } else { response.read(buffer) }
}

/// Whether a failure of a request or of its response no longer matters, because its segment is over.
pub fn is_irrelevant(failure: &Error, writer: &SegmentWriter, session: &Session<'_>) -> bool {
    !matches!(failure, Error::Range(_)) && !session.is_stopped() && writer.is_over()
}

/// Interrupts a thread's requests when its segment is over, until it is dropped.
pub struct InterruptWhenOver<'s> {
    writer: &'s SegmentWriter,
    interrupt: Arc<Interrupt>,
}

impl<'s> InterruptWhenOver<'s> {
    pub fn new(writer: &'s SegmentWriter, interrupt: &Arc<Interrupt>) -> Self {
        writer.set_waker(Waker::from(Arc::clone(interrupt)));
        Self { writer, interrupt: Arc::clone(interrupt) }
    }
}

impl Drop for InterruptWhenOver<'_> {
    fn drop(&mut self) {
        // In this order: nothing wakes it after the reset.
        self.writer.remove_waker();
        self.interrupt.reset();
    }
}
