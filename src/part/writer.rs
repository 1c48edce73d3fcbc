//! The segment of a part file that is assigned to one thread for as long as it holds the `SegmentWriter`.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::claim::Demand;
use super::segments::{Next, SegmentId};
use super::shared_part::SharedPart;
use crate::error::Error;

/// A segment assigned to one thread. Dropping it frees the bytes that are still missing, for other threads.
#[derive(Debug)]
pub struct SegmentWriter {
    shared: Arc<SharedPart>,
    id: SegmentId,
}

/// What became of bytes that were to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// How many were written. The others were not needed.
    pub count: u64,
    /// Whether the segment has more to write.
    pub has_more: bool,
}

impl SharedPart {
    /// Assigns the first free range.
    #[must_use]
    pub fn next_segment(self: &Arc<Self>) -> Option<SegmentWriter> {
        let id = self.lock_segments().assign_free(Instant::now())?;
        Some(SegmentWriter { shared: Arc::clone(self), id })
    }

    /// Assigns to another connection the first free range, or else the end of another segment, if that saves time.
    #[must_use]
    pub fn assign_segment(self: &Arc<Self>, demand: Demand) -> Option<SegmentWriter> {
        let id = self.lock_segments().assign(demand, Instant::now())?;
        Some(SegmentWriter { shared: Arc::clone(self), id })
    }

    /// Returns how long the slowest part of the file will take, if another connection would help; the maximum if a
    /// range is free.
    #[must_use]
    pub fn time_left(&self, demand: Demand) -> Option<Duration> {
        self.lock_segments().time_left(demand, Instant::now())
    }

    /// Returns over how many connections the file arrives.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.lock_segments().connections()
    }
}

impl SegmentWriter {
    /// Returns the range to request: the offset of its first byte, and the one after its last byte if that is known.
    #[must_use]
    pub fn begin_request(&self) -> (u64, Option<u64>) {
        self.shared.lock_segments().begin_request(self.id)
    }

    /// Records a response whose next byte is at `start` and which ends at `range_end`, if that is known. The last of it
    /// arrived at `arrived`. Returns whether it fits the segment and is still needed; if not, none of it may be written.
    #[must_use]
    pub fn accept_response(&self, start: u64, range_end: Option<u64>, arrived: Instant) -> bool {
        self.shared.lock_segments().record_response(self.id, start, range_end, arrived)
    }

    /// Wakes `waker` when the segment has nothing more to write, whatever its thread is waiting for: at once if that is
    /// already so.
    pub fn set_waker(&self, waker: Waker) {
        self.shared.lock_segments().set_waker(self.id, waker);
    }

    /// After this, the waker is not woken any more.
    pub fn remove_waker(&self) {
        self.shared.lock_segments().remove_waker(self.id);
    }

    /// Whether the segment has nothing more to write: it is full, other threads have written the rest or are about to,
    /// or writing has stopped.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.lock_segments().is_over(self.id)
    }

    /// Whether the segment has written any bytes.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.shared.lock_segments().has_written(self.id)
    }

    /// Writes the next bytes of the response, except those that are not needed.
    ///
    /// # Errors
    ///
    /// [`Error::Disk`] if the disk is full or failing; [`Error::PartChanged`] or [`Error::Locked`] if another process
    /// changed the file or took it over.
    pub fn write(&self, mut bytes: &[u8]) -> Result<Written, Error> {
        let mut written = Written { count: 0, has_more: true };
        while written.has_more && !bytes.is_empty() {
            // A statement of its own, so that the lock is released.
            let next = self.shared.lock_segments().reserve(self.id, bytes.len() as u64, Instant::now());
            match next {
                Next::Write { offset, count } => {
                    let (first, rest) = bytes.split_at(usize::try_from(count).unwrap_or(bytes.len()));
                    written.has_more = self.write_reserved(first, offset)?;
                    written.count += count;
                    bytes = rest;
                }
                Next::Skip(count) => bytes = &bytes[usize::try_from(count).unwrap_or(bytes.len())..],
                Next::Stop => written.has_more = false,
            }
        }
        Ok(written)
    }

    fn write_reserved(&self, bytes: &[u8], offset: u64) -> Result<bool, Error> {
        let result = self.shared.file.write_at(bytes, offset);
        let mut segments = self.shared.lock_segments();
        let has_more = match result {
            Ok(()) => segments.finish_write(self.id),
            Err(_) => {
                segments.give_up_write(self.id);
                false
            }
        };
        if segments.is_closed() {
            drop(segments);
            self.shared.notify_waiting();
        }
        result.map(|()| has_more)
    }

    /// Treats the written bytes as missing again, because they do not belong to the file. Returns how many they are.
    #[must_use]
    pub fn discard_written(&self) -> u64 {
        self.shared.lock_segments().rewind(self.id)
    }

    /// Ends the file here if its length is unknown, because the body has ended.
    pub fn body_ended(&self) {
        self.shared.lock_segments().infer_length(self.id);
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        self.shared.lock_segments().unassign(self.id, Instant::now());
        self.shared.notify_waiting();
    }
}
