//! Reading a body into a part file.

use super::context::Context;
use super::event::Progress;
use crate::error::Failure;
use crate::http::Answer;
use crate::part::Share;

/// Reads a body into what a thread fills of a part file, until that is full or the body ends.
pub fn receive(
    answer: &mut Answer,
    share: &Share,
    buffer: &mut [u8],
    progress: &Progress,
    context: &Context<'_>,
) -> Result<(), Failure> {
    loop {
        let room = share.room().min(buffer.len());
        if room == 0 {
            break;
        }
        match read(answer, &mut buffer[..room], progress, context)? {
            0 => {
                share.body_ended();
                break;
            }
            count => share.write(&buffer[..count])?,
        }
        if let Some(most) = context.limits.max_filesize.filter(|most| share.from() > *most) {
            return Err(Failure::TooLarge(most));
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
    answer: &mut Answer,
    buffer: &mut [u8],
    progress: &Progress,
    context: &Context<'_>,
) -> Result<usize, Failure> {
    if context.control.is_cancelled() {
        return Err(Failure::Cancelled);
    }
    let count = answer.read(buffer)?;
    progress.add(count as u64);
    Ok(count)
}
