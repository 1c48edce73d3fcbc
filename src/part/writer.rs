//! The segment of a part file that is assigned to one thread for as long as it holds the `SegmentWriter`.

use std::sync::Arc;
use std::time::Instant;

use super::segments::Segment;
use super::shared_part::SharedPart;
use crate::error::Error;

/// A segment assigned to one thread. Dropping it frees the bytes that are still missing, for other threads.
#[derive(Debug)]
pub struct SegmentWriter {
    shared: Arc<SharedPart>,
    segment: Arc<Segment>,
}

impl SharedPart {
    /// Assigns the first free range.
    #[must_use]
    pub fn next_segment(self: &Arc<Self>) -> Option<SegmentWriter> {
        let segment = self.lock_segments().assign_free()?;
        Some(SegmentWriter { shared: Arc::clone(self), segment })
    }

    /// Assigns the first free range, or else the second half of the slowest segment, if any is worth splitting.
    #[must_use]
    pub fn split_slowest(self: &Arc<Self>) -> Option<SegmentWriter> {
        let mut segments = self.lock_segments();
        if self.is_stopped() {
            return None;
        }
        let segment = segments.assign_free().or_else(|| segments.split(Instant::now()))?;
        drop(segments);
        Some(SegmentWriter { shared: Arc::clone(self), segment })
    }
}

impl SegmentWriter {
    /// Returns the offset of the next byte to write.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.segment.position()
    }

    /// Returns the offset after the last byte to write; `None` if unknown. Other threads may lower it.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        self.segment.end()
    }

    /// Records a response that starts at `start` and ends at `range_end`, if that is known. Returns whether it fits the
    /// segment and the segment is still assigned; if not, none of it may be written.
    #[must_use]
    pub fn accept_response(&self, start: u64, range_end: Option<u64>) -> bool {
        let mut segments = self.shared.lock_segments();
        start == self.position()
            && !self.shared.is_stopped()
            && segments.record_response(&self.segment, range_end, Instant::now())
    }

    /// Returns how many bytes may be written next; 0 if the segment is full or writing has stopped.
    #[must_use]
    pub fn writable(&self) -> usize {
        loop {
            let writable = usize::try_from(self.segment.writable()).unwrap_or(usize::MAX);
            if self.shared.is_stopped() {
                return 0;
            }
            if writable > 0 || !self.shared.lock_segments().extend(&self.segment) {
                return writable;
            }
        }
    }

    /// Writes the next bytes, at most as many as are [`writable`](Self::writable).
    ///
    /// # Errors
    ///
    /// [`Error::Disk`] if the disk is full or failing; [`Error::PartChanged`] or [`Error::Locked`] if another process
    /// changed the file or took it over.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        self.shared.file.write_at(bytes, self.segment.position())?;
        self.segment.advance(bytes.len() as u64);
        Ok(())
    }

    /// Treats the written bytes as missing again, because they do not belong to the file. Returns how many they are.
    #[must_use]
    pub fn discard_written(&self) -> u64 {
        self.shared.lock_segments().rewind(&self.segment)
    }

    /// Ends the file here if its length is unknown, because the body has ended.
    pub fn body_ended(&self) {
        self.shared.lock_segments().infer_length(&self.segment);
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        self.shared.lock_segments().unassign(&self.segment);
        self.shared.notify_writer_left();
    }
}
