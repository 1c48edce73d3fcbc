//! Tracks which bytes of one file are written, which are assigned to a thread, and which are free, and decides where to
//! split the range that a thread is writing. Does no I/O; the caller passes the time.
//!
//! A byte that is not written is *missing*. It is *free* if it is not assigned to a thread either.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::meter::SpeedMeter;
use super::ranges::Ranges;

/// Neither half of a split segment is smaller than this.
const MIN_SEGMENT: u64 = 1024 * 1024;

/// A segment is split only if it would take longer than this: opening another connection takes time.
const MIN_TIME_LEFT: Duration = Duration::from_secs(1);

/// The maximum number of bytes that a thread writes before it checks the end of its segment again. Less than half of
/// any segment that is split.
pub const MAX_WRITE: u64 = MIN_SEGMENT / 2;

/// Stands for the end of a file whose length is unknown.
const UNKNOWN: u64 = u64::MAX;

/// A byte range of a file that one thread writes from its start. Other threads may lower its end, as
/// [`Segments::split`] describes. The writing thread notices without taking a lock.
#[derive(Debug)]
pub struct Segment {
    position: AtomicU64,
    end: AtomicU64,
}

impl Segment {
    /// Returns the offset of the next byte.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position.load(SeqCst)
    }

    /// Returns the offset after its last byte; `None` if unknown.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        Some(self.end.load(SeqCst)).filter(|end| *end != UNKNOWN)
    }

    /// Returns how many bytes its thread may write next.
    #[must_use]
    pub fn writable(&self) -> u64 {
        self.end.load(SeqCst).saturating_sub(self.position()).min(MAX_WRITE)
    }

    /// Records that its thread has written `count` bytes, at most as many as were [`writable`](Self::writable).
    pub fn advance(&self, count: u64) {
        self.position.fetch_add(count, SeqCst);
    }
}

/// The segments of one file.
#[derive(Debug, Default)]
pub struct Segments {
    length: Option<u64>,
    done: Ranges,
    active: Vec<ActiveSegment>,
}

/// A segment that is assigned to a thread.
#[derive(Debug)]
struct ActiveSegment {
    segment: Arc<Segment>,
    start: u64,
    /// The speed of the segment that this one was split from.
    assumed_speed: Option<f64>,
    response: Option<ActiveResponse>,
}

/// The response from which a segment is written.
#[derive(Debug)]
struct ActiveResponse {
    /// Where the response ends. The segment may be extended up to there.
    range_end: u64,
    meter: SpeedMeter,
}

impl Segments {
    /// Creates the segments of a file of which `done` is written and nothing is assigned.
    #[must_use]
    pub fn new(done: Ranges, length: Option<u64>) -> Self {
        Self { length, done, active: Vec::new() }
    }

    /// Returns the bytes that are written.
    #[must_use]
    pub fn written_ranges(&self) -> Ranges {
        let mut written = self.done.clone();
        for active in &self.active {
            written.add(active.start, active.segment.position());
        }
        written
    }

    /// Whether every byte is written and no segment is assigned.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        self.active.is_empty() && self.length.is_some_and(|length| self.done.first_missing(length).is_none())
    }

    /// Whether no segment is assigned.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// Returns the first range that is neither written nor assigned. Its end is `None` if it goes to the end of the
    /// file.
    #[must_use]
    pub fn free_range(&self) -> Option<(u64, Option<u64>)> {
        let length = self.length.unwrap_or(UNKNOWN);
        self.find_free().map(|(start, end)| (start, Some(end).filter(|end| *end != length)))
    }

    fn find_free(&self) -> Option<(u64, u64)> {
        let mut taken = self.done.clone();
        for ActiveSegment { segment, start, .. } in &self.active {
            taken.add(*start, segment.end.load(SeqCst));
        }
        taken.first_missing(self.length.unwrap_or(UNKNOWN))
    }

    /// Assigns the first free range.
    pub fn assign_free(&mut self) -> Option<Arc<Segment>> {
        let (start, end) = self.find_free()?;
        Some(self.assign(start, end, None))
    }

    /// Records that the response to a segment has arrived and ends at `range_end`, if that is known. Returns whether
    /// the segment is still assigned.
    pub fn record_response(&mut self, segment: &Arc<Segment>, range_end: Option<u64>, now: Instant) -> bool {
        let Some(active) = self.active.iter_mut().find(|active| Arc::ptr_eq(&active.segment, segment)) else {
            return false;
        };
        let meter = SpeedMeter::new(now, active.start, active.assumed_speed);
        active.response = Some(ActiveResponse { range_end: range_end.unwrap_or(UNKNOWN), meter });
        true
    }

    /// Returns how long the slowest segment will take, among those worth splitting.
    pub fn longest_time(&mut self, now: Instant) -> Option<Duration> {
        self.find_slowest(now).map(|(_, time, _)| time)
    }

    /// Splits off and assigns the second half of the slowest segment, if any is worth splitting.
    ///
    /// A segment's thread loads `end` before it reads, and moves `position` after it has written, by at most
    /// [`MAX_WRITE`]. So if `position`, loaded after `end` was lowered, is at least that far from the new end, the
    /// thread has not written beyond it and will not. Otherwise this thread was delayed in between, and the old end is
    /// restored: a thread that saw the lower one calls [`extend`](Self::extend). All of this needs one total order of
    /// the accesses to `end` and `position`, hence `SeqCst`.
    pub fn split(&mut self, now: Instant) -> Option<Arc<Segment>> {
        let (index, _, speed) = self.find_slowest(now)?;
        let segment = &self.active[index].segment;
        let end = segment.end.load(SeqCst);
        let middle = end - end.saturating_sub(segment.position()) / 2;
        segment.end.store(middle, SeqCst);
        if segment.position() + MAX_WRITE > middle {
            segment.end.store(end, SeqCst);
            return None;
        }
        Some(self.assign(middle, end, speed))
    }

    /// Extends a segment whose thread has reached its end, and returns whether there is more to write. Either the end
    /// was restored by [`split`](Self::split), or the part that was split off has no response yet, and this segment's
    /// response includes it.
    pub fn extend(&mut self, segment: &Arc<Segment>) -> bool {
        if segment.writable() > 0 {
            return true;
        }
        let end = segment.position();
        let is_next = |active: &ActiveSegment| active.start == end && active.response.is_none();
        let Some(next) = self.active.iter().position(is_next) else { return false };
        let next_end = self.active[next].segment.end.load(SeqCst);
        let is_within_response = next_end <= self.range_end_of(segment);
        if is_within_response {
            segment.end.store(next_end, SeqCst);
            self.active.swap_remove(next);
        }
        is_within_response
    }

    /// If the file's length is unknown, treats the end of this segment's body as the end of the file.
    pub fn infer_length(&mut self, segment: &Arc<Segment>) {
        if self.length.is_none() {
            self.length = Some(segment.position());
            segment.end.store(segment.position(), SeqCst);
        }
    }

    /// Moves a segment back to its start, because its bytes do not belong to the file. Returns how many they are.
    pub fn rewind(&mut self, segment: &Arc<Segment>) -> u64 {
        let active = self.active.iter().find(|active| Arc::ptr_eq(&active.segment, segment));
        let start = active.map_or(segment.position(), |active| active.start);
        segment.position.swap(start, SeqCst) - start
    }

    /// Ends the assignment of a segment. The bytes it has written stay, and the others become free. If it has written
    /// nothing, its whole range returns to the segment that it was split from, if that segment's response includes it.
    pub fn unassign(&mut self, segment: &Arc<Segment>) {
        let Some(index) = self.active.iter().position(|active| Arc::ptr_eq(&active.segment, segment)) else {
            return;
        };
        let ActiveSegment { start, .. } = self.active.swap_remove(index);
        let (position, end) = (segment.position(), segment.end.load(SeqCst));
        self.done.add(start, position);
        let is_before = |active: &&ActiveSegment| active.segment.end.load(SeqCst) == start && active.range_end() >= end;
        if let Some(before) = self.active.iter().find(is_before).filter(|_| position == start) {
            before.segment.end.store(end, SeqCst);
        }
    }

    /// Ends the assignment of all segments without a response.
    pub fn revoke_unanswered(&mut self) {
        self.active.retain(|active| active.response.is_some());
    }

    fn assign(&mut self, start: u64, end: u64, assumed_speed: Option<f64>) -> Arc<Segment> {
        let segment = Arc::new(Segment { position: AtomicU64::new(start), end: AtomicU64::new(end) });
        self.active.push(ActiveSegment { segment: Arc::clone(&segment), start, assumed_speed, response: None });
        segment
    }

    fn range_end_of(&self, segment: &Arc<Segment>) -> u64 {
        self.active.iter().find(|active| Arc::ptr_eq(&active.segment, segment)).map_or(0, ActiveSegment::range_end)
    }

    /// Returns the slowest of the segments worth splitting: its index, the time it will take, and its speed.
    fn find_slowest(&mut self, now: Instant) -> Option<(usize, Duration, Option<f64>)> {
        self.length?;
        let times = self.active.iter_mut().enumerate().filter_map(|(index, active)| {
            let position = active.segment.position();
            let remaining = active.segment.end.load(SeqCst).saturating_sub(position);
            let speed = match &mut active.response {
                Some(response) => response.meter.speed(now, position),
                None => active.assumed_speed,
            };
            let time = Duration::try_from_secs_f64(remaining as f64 / speed?).unwrap_or(Duration::MAX);
            (remaining >= 2 * MIN_SEGMENT && time > MIN_TIME_LEFT).then_some((index, time, speed))
        });
        times.max_by_key(|(_, time, _)| *time)
    }
}

impl ActiveSegment {
    /// Returns where its response ends; 0 if there is none yet.
    fn range_end(&self) -> u64 {
        self.response.as_ref().map_or(0, |response| response.range_end)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// A file of `length` MiB whose first segment had its response at `now` and has since been written up to
    /// `position`.
    fn started(length: u64, position: u64, now: Instant) -> (Segments, Arc<Segment>) {
        let mut segments = Segments::new(Ranges::default(), Some(length * MIB));
        let segment = segments.assign_free().unwrap();
        assert!(segments.record_response(&segment, Some(length * MIB), now));
        segment.advance(position * MIB);
        (segments, segment)
    }

    fn end(segment: &Segment) -> u64 {
        segment.end.load(SeqCst)
    }

    /// In MiB.
    fn bounds(segment: &Segment) -> (u64, u64) {
        (segment.position() / MIB, end(segment) / MIB)
    }

    #[test]
    fn free_ranges_are_assigned_in_order() {
        let done = Ranges::try_from(vec![(10, 20), (30, 40)]).unwrap();
        let mut segments = Segments::new(done, Some(50));
        assert_eq!(segments.free_range(), Some((0, Some(10))));
        let assigned: Vec<_> = std::iter::from_fn(|| segments.assign_free()).collect();
        let bounds: Vec<_> = assigned.iter().map(|segment| (segment.position(), end(segment))).collect();
        assert_eq!(bounds, [(0, 10), (20, 30), (40, 50)]);
        for segment in &assigned {
            assert!(!segments.is_filled());
            segment.advance(10);
            segments.unassign(segment);
        }
        assert!(segments.is_filled() && segments.written_ranges().count() == 50);
    }

    #[test]
    fn a_body_of_unknown_length_ends_the_file() {
        let mut segments = Segments::new(Ranges::default(), None);
        let segment = segments.assign_free().unwrap();
        assert!(segments.record_response(&segment, None, Instant::now()));
        segment.advance(7);
        assert_eq!(segments.longest_time(Instant::now() + seconds(9)), None, "it cannot be split");
        segments.infer_length(&segment);
        assert!(segment.writable() == 0 && !segments.extend(&segment));
        segments.unassign(&segment);
        assert!(segments.is_filled() && segments.length == Some(7));
    }

    #[test]
    fn only_a_slow_segment_is_split_and_in_the_middle() {
        let now = Instant::now();
        // 4 MiB in a second with 8 or less to go; one that is too young to have a speed; one without any bytes.
        for (length, position, after, middle) in [
            (12, 4, 1000, Some(8)),
            (8, 4, 1000, None),
            (10, 4, 1000, Some(7)),
            (1, 0, 1000, None),
            (12, 4, 99, None),
            (1000, 0, 1000, Some(500)),
        ] {
            let (mut segments, segment) = started(length, position, now);
            let later = now + Duration::from_millis(after);
            assert_eq!(segments.longest_time(later).is_some(), middle.is_some(), "{length} {position} {after}");
            let half = segments.split(later);
            let found = half.map(|half| bounds(&half));
            assert_eq!(found, middle.map(|middle| (middle, length)), "{length} {position} {after}");
            assert_eq!(bounds(&segment), (position, middle.unwrap_or(length)));
        }
    }

    #[test]
    fn the_slowest_segment_is_split_repeatedly() {
        let now = Instant::now();
        let (mut segments, first) = started(64, 0, now);
        first.advance(MIB);
        let later = now + seconds(1);
        let halves: Vec<_> = (0..3).map(|_| segments.split(later).unwrap()).collect();
        // A new segment is assumed to be as fast as the one it was split from.
        let mut found: Vec<_> = halves.iter().chain([&first]).map(|segment| bounds(segment)).collect();
        found.sort_unstable();
        assert_eq!(found, [(1, 16), (16, 32), (32, 48), (48, 64)]);
    }

    #[test]
    fn a_segment_without_bytes_returns_to_the_one_it_was_split_from() {
        let now = Instant::now();
        let later = now + seconds(1);
        let (mut segments, first) = started(12, 4, now);
        let half = segments.split(later).unwrap();
        assert_eq!((bounds(&first), bounds(&half)), ((4, 8), (8, 12)));
        segments.unassign(&half);
        assert_eq!(bounds(&first), (4, 12), "it had no response");
        let half = segments.split(later).unwrap();
        assert!(segments.record_response(&half, Some(12 * MIB), later));
        half.advance(MIB);
        assert_eq!(segments.rewind(&half), MIB);
        segments.unassign(&half);
        assert_eq!(bounds(&first), (4, 12), "its bytes were not part of the file");
        let half = segments.split(later).unwrap();
        assert!(segments.record_response(&half, Some(12 * MIB), later));
        half.advance(MIB);
        segments.unassign(&half);
        assert_eq!((bounds(&first), segments.free_range()), ((4, 8), Some((9 * MIB, None))), "some of it is written");
        first.advance(4 * MIB);
        segments.unassign(&first);
        assert_eq!(segments.written_ranges(), Ranges::try_from(vec![(0, 9 * MIB)]).unwrap());
    }

    #[test]
    fn a_segment_extends_into_one_without_a_response() {
        let now = Instant::now();
        let later = now + seconds(1);
        let (mut segments, first) = started(12, 4, now);
        let half = segments.split(later).unwrap();
        first.advance(4 * MIB);
        assert!(first.writable() == 0 && segments.extend(&first));
        assert_eq!(bounds(&first), (8, 12));
        assert!(!segments.record_response(&half, Some(12 * MIB), later), "its range was taken back");
        segments.unassign(&half);
        assert_eq!(bounds(&first), (8, 12));
        first.advance(4 * MIB);
        assert!(!segments.extend(&first));
        segments.unassign(&first);
        assert!(segments.is_filled());
    }

    #[test]
    fn a_segment_does_not_extend_beyond_its_response() {
        let now = Instant::now();
        let mut segments = Segments::new(Ranges::try_from(vec![(MIB, 2 * MIB)]).unwrap(), Some(3 * MIB));
        let (first, last) = (segments.assign_free().unwrap(), segments.assign_free().unwrap());
        assert!(segments.record_response(&first, Some(MIB), now));
        first.advance(MIB);
        assert!(!segments.extend(&first), "the next is not adjacent");
        let (mut segments, first) = started(12, 4, now);
        let half = segments.split(now + seconds(1)).unwrap();
        segments.unassign(&first);
        // The rest of the first is assigned to a thread that requests exactly that.
        let again = segments.assign_free().unwrap();
        assert_eq!(bounds(&again), (4, 8));
        assert!(segments.record_response(&again, Some(8 * MIB), now));
        segments.unassign(&half);
        assert_eq!(bounds(&again), (4, 8));
        again.advance(4 * MIB);
        assert!(!segments.extend(&again));
        drop(last);
    }

    /// Threads write while another splits as fast as it can: no byte is written twice, and none is missed.
    #[test]
    fn each_byte_is_written_once_under_concurrent_splits() {
        const LENGTH: u64 = 400 * MIB;
        let start = Instant::now();
        let segments = Mutex::new(Segments::new(Ranges::default(), Some(LENGTH)));
        let written = Mutex::new(Vec::new());
        let write = |segment: Arc<Segment>, mut random: fastrand::Rng| {
            if !segments.lock().unwrap().record_response(&segment, Some(LENGTH), start) {
                return;
            }
            loop {
                let writable = segment.writable();
                if writable == 0 {
                    if segments.lock().unwrap().extend(&segment) {
                        continue;
                    }
                    break;
                }
                let count = random.u64(1..=writable.min(64 * 1024));
                written.lock().unwrap().push((segment.position(), count));
                segment.advance(count);
            }
            segments.lock().unwrap().unassign(&segment);
        };
        std::thread::scope(|scope| {
            let first = segments.lock().unwrap().assign_free().unwrap();
            let write = &write;
            scope.spawn(move || write(first, fastrand::Rng::with_seed(0)));
            let mut number = 0;
            while !segments.lock().unwrap().is_idle() {
                // By this clock every segment is slow.
                let half = segments.lock().unwrap().split(start + seconds(1_000_000));
                if let Some(half) = half {
                    number += 1;
                    scope.spawn(move || write(half, fastrand::Rng::with_seed(number)));
                }
                std::thread::yield_now();
            }
        });
        assert!(segments.lock().unwrap().is_filled());
        let mut written = written.into_inner().unwrap();
        written.sort_unstable();
        let end = written.iter().fold(0, |end, (position, count)| {
            assert_eq!(*position, end);
            position + count
        });
        assert_eq!(end, LENGTH);
    }

    proptest! {
        /// After any order of operations segments do not overlap, and the file can be finished.
        #[test]
        fn segments_never_overlap(steps in proptest::collection::vec((0u8..6, any::<u8>(), 0u64..=MAX_WRITE), 0..200)) {
            const LENGTH: u64 = 40 * MIB;
            let mut now = Instant::now();
            let mut segments = Segments::new(Ranges::default(), Some(LENGTH));
            let mut held: Vec<(Arc<Segment>, bool)> = Vec::new();
            let mut model = Ranges::default();
            for (step, which, count) in steps {
                now += Duration::from_millis(300);
                let index = usize::from(which).checked_rem(held.len());
                match (step, index) {
                    (0, _) => held.extend(segments.assign_free().map(|segment| (segment, false))),
                    (1, _) => held.extend(segments.split(now).map(|segment| (segment, false))),
                    (2, Some(index)) if !held[index].1 => {
                        let range_end = if which % 2 == 0 { end(&held[index].0) } else { LENGTH };
                        if segments.record_response(&held[index].0, Some(range_end), now) {
                            held[index].1 = true;
                        } else {
                            held.swap_remove(index);
                        }
                    }
                    (3 | 4, Some(index)) if held[index].1 => {
                        let segment = &held[index].0;
                        let count = count.min(segment.writable());
                        let before = model.count();
                        model.add(segment.position(), segment.position() + count);
                        prop_assert_eq!(model.count(), before + count, "written twice");
                        segment.advance(count);
                        if segment.writable() == 0 && !segments.extend(&held[index].0) {
                            segments.unassign(&held.swap_remove(index).0);
                        }
                    }
                    (5, Some(index)) => segments.unassign(&held.swap_remove(index).0),
                    _ => {}
                }
                prop_assert_eq!(&segments.written_ranges(), &model);
            }
            for (segment, _) in held {
                segments.unassign(&segment);
            }
            while let Some(segment) = segments.assign_free() {
                segment.advance(end(&segment) - segment.position());
                segments.unassign(&segment);
            }
            prop_assert!(segments.is_filled());
        }
    }
}
