//! Copies the body of a response into a segment of a part file.

use super::event::Progress;
use super::session::Session;
use crate::error::Error;
use crate::http::Response;
use crate::part::SegmentWriter;

/// Copies a body into a segment, until the segment is full or the body ends.
pub fn copy_body(
    response: &mut Response<'_>,
    writer: &SegmentWriter,
    buffer: &mut [u8],
    progress: &Progress,
    session: &Session<'_>,
) -> Result<(), Error> {
    loop {
        let writable = writer.writable().min(buffer.len());
        if writable == 0 {
            break;
        }
        match read_body(response, &mut buffer[..writable], progress, session)? {
            0 => {
                writer.body_ended();
                break;
            }
            count => writer.write(&buffer[..count])?,
        }
        if let Some(limit) = session.limits.max_filesize.filter(|limit| writer.position() > *limit) {
            return Err(Error::TooLarge(limit));
        }
    }
    if response.is_fully_read() {
        // Reads the end of the body, without which the connection is not reused.
        response.read(&mut buffer[..1])?;
    }
    Ok(())
}

/// Reads the next bytes of a body and counts them; 0 at its end.
pub fn read_body(
    response: &mut Response<'_>,
    buffer: &mut [u8],
    progress: &Progress,
    session: &Session<'_>,
) -> Result<usize, Error> {
    if session.is_stopped() {
        return Err(Error::Cancelled);
    }
    let count = response.read(buffer)?;
    progress.add(count as u64);
    Ok(count)
}
