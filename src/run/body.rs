//! Reading a body into a part file.

use super::context::Context;
use super::event::Progress;
use crate::error::Error;
use crate::http::Response;
use crate::part::SegmentWriter;

/// Reads a body into what a thread fills of a part file, until that is full or the body ends.
pub fn receive(
    answer: &mut Response,
    writer: &SegmentWriter,
    buffer: &mut [u8],
    progress: &Progress,
    context: &Context<'_>,
) -> Result<(), Error> {
    loop {
        let room = writer.room().min(buffer.len());
        if room == 0 {
            break;
        }
        match read(answer, &mut buffer[..room], progress, context)? {
            0 => {
                writer.body_ended();
                break;
            }
            count => writer.write(&buffer[..count])?,
        }
        if let Some(most) = context.limits.max_filesize.filter(|most| writer.position() > *most) {
            return Err(Error::TooLarge(most));
        }
    }
    if answer.is_read() {
        // Nothing comes after it, and the connection can be used again.
        answer.read(&mut buffer[..1])?;
    }
    Ok(())
}

/// Reads the next bytes of a body, and counts them.
pub fn read(
    answer: &mut Response,
    buffer: &mut [u8],
    progress: &Progress,
    context: &Context<'_>,
) -> Result<usize, Error> {
    if context.control.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let count = answer.read(buffer)?;
    progress.add(count as u64);
    Ok(count)
}
