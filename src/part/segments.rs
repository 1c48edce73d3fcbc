//! Tracks which bytes of one file are written, which are reserved by a thread that is about to write them, and which
//! segment each thread fetches. Does no I/O; the caller passes the time, and locks the whole.
//!
//! A byte that is neither written nor reserved is *missing*. It is *free* if no segment includes it either. Every byte
//! is reserved before it is written, so no two threads write it at the same time, whatever their responses contain.
//!
//! Where a segment ends and the next one has no response yet, the thread of the first continues into the next, as far
//! as its own response reaches. Once the next response arrives, the first segment is over. So nothing waits for a
//! request, and a request that fails loses nothing.

use std::task::Waker;
use std::time::{Duration, Instant};

use super::active::Active;
pub use super::active::SegmentId;
use super::claim::{Demand, Situation, Tail, choose_tail};
use super::meter::SpeedMeter;
use super::ranges::Ranges;

/// One file has at most this many connections.
pub const MAX_CONNECTIONS: usize = 16;

/// A segment is taken over by the one before it only if that saves more than this.
const MIN_TIME_SAVED: Duration = Duration::from_millis(50);

/// Stands for the end of a file whose length is unknown.
const UNKNOWN: u64 = u64::MAX;

/// What to do with the next bytes of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Write this many at this offset. They are reserved.
    Write { offset: u64, count: u64 },
    /// Skip this many: they are in the file.
    Skip(u64),
    /// Nothing more of the response is needed.
    Stop,
}

/// The segments of one file.
#[derive(Debug, Default)]
pub struct Segments {
    length: Option<u64>,
    written: Ranges,
    /// What is written or reserved.
    taken: Ranges,
    active: Vec<Active>,
    next_id: u64,
    /// Nothing more may be reserved.
    is_closed: bool,
    /// The shortest time that a request took to be answered.
    round_trip: Option<Duration>,
    /// The mean speed of the segment that ended last.
    finished_speed: Option<f64>,
    /// How many connections have been shown to pay, and how many bytes were claimed in trials since.
    proven: usize,
    tried: u64,
}

impl Segments {
    /// Starts over with a file of which `written` is written and nothing is assigned. Threads of earlier segments can
    /// do nothing more.
    pub fn restart(&mut self, written: Ranges, length: Option<u64>) {
        let taken = written.clone();
        *self = Self { length, written, taken, next_id: self.next_id, ..Self::default() };
    }

    /// Returns the bytes that are written.
    #[must_use]
    pub const fn written_ranges(&self) -> &Ranges {
        &self.written
    }

    /// Whether every byte is written.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.length.is_some_and(|length| self.written.first_missing(length).is_none())
    }

    /// Whether no segment has anything more to write.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.active.iter().all(|active| active.is_over && active.reserved.is_none())
    }

    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Ends all segments. What is reserved may still be written.
    pub fn close(&mut self) {
        self.is_closed = true;
        self.end_those_without_more();
    }

    /// Whether bytes are reserved that are not written yet.
    #[must_use]
    pub fn has_reserved(&self) -> bool {
        self.active.iter().any(|active| active.reserved.is_some())
    }

    /// Returns the first free range. Its end is `None` if it goes to the end of the file.
    #[must_use]
    pub fn free_range(&self) -> Option<(u64, Option<u64>)> {
        let length = self.length.unwrap_or(UNKNOWN);
        self.find_free().map(|(start, end)| (start, Some(end).filter(|end| *end != length)))
    }

    fn find_free(&self) -> Option<(u64, u64)> {
        let mut assigned = self.taken.clone();
        for active in self.active.iter().filter(|active| !active.is_over) {
            assigned.add(active.position, active.end);
        }
        assigned.first_missing(self.length.unwrap_or(UNKNOWN)).filter(|_| !self.is_closed)
    }

    /// Assigns the first free range.
    pub fn assign_free(&mut self, now: Instant) -> Option<SegmentId> {
        let (start, end) = self.find_free()?;
        Some(self.add(start, end, now).id)
    }

    /// Returns how long the slowest part of the file will take, if another connection would help; the maximum if a
    /// range is free.
    #[must_use]
    pub fn time_left(&self, demand: Demand, now: Instant) -> Option<Duration> {
        match self.find_free() {
            _ if self.has_all_connections() => None,
            Some(_) => Some(Duration::MAX),
            None => self.find_tail(demand, now).map(|(_, tail)| tail.time_left),
        }
    }

    /// Assigns to another connection the first free range, or else the end of another segment, as `claim` decides.
    pub fn assign(&mut self, demand: Demand, now: Instant) -> Option<SegmentId> {
        if self.has_all_connections() {
            return None;
        }
        if let Some((start, end)) = self.find_free() {
            return Some(self.add(start, end, now).id);
        }
        let (index, tail) = self.find_tail(demand, now)?;
        let connections = self.connections() + 1;
        let from = &mut self.active[index];
        let (start, end) = (from.end - tail.count, from.end);
        if demand.is_trial {
            self.tried += tail.count;
        } else {
            (self.proven, self.tried) = (connections, 0);
        }
        let takeovers = if tail.time_left == Duration::MAX { from.takeovers + 1 } else { 0 };
        from.end = start;
        let added = self.add(start, end, now);
        (added.is_open_ended, added.takeovers) = (false, takeovers);
        Some(added.id)
    }

    /// Returns the range to request for a segment: its first byte, and the offset after its last one if that is known.
    pub fn begin_request(&mut self, id: SegmentId) -> (u64, Option<u64>) {
        let Some(active) = self.find_mut(id) else { return (0, None) };
        active.reach = active.end;
        (active.position, Some(active.end).filter(|end| *end != UNKNOWN))
    }

    /// Records that the response to a segment has arrived, which starts at `start` and ends at `range_end`, if that is
    /// known. Returns whether it fits the segment and the segment is not over.
    pub fn record_response(&mut self, id: SegmentId, start: u64, range_end: Option<u64>, now: Instant) -> bool {
        let Some(active) = self.find_mut(id).filter(|active| !active.is_over && active.position == start) else {
            return false;
        };
        active.reach = range_end.unwrap_or(UNKNOWN);
        active.meter = Some(SpeedMeter::new(now, start));
        if !active.is_open_ended {
            let round_trip = now.saturating_duration_since(active.assigned);
            self.round_trip = Some(self.round_trip.map_or(round_trip, |shortest| shortest.min(round_trip)));
        }
        // Those that have continued into this one.
        self.end_those_without_more();
        true
    }

    /// Calls `waker` when a segment is over: at once if it is already.
    pub fn set_waker(&mut self, id: SegmentId, waker: Waker) {
        match self.find_mut(id).filter(|active| !active.is_over) {
            Some(active) => active.waker = Some(waker),
            None => waker.wake(),
        }
    }

    /// Forgets the waker of a segment.
    pub fn remove_waker(&mut self, id: SegmentId) {
        if let Some(active) = self.find_mut(id) {
            active.waker = None;
        }
    }

    /// Whether a segment has nothing more to write.
    #[must_use]
    pub fn is_over(&self, id: SegmentId) -> bool {
        self.find(id).is_none_or(|index| self.active[index].is_over)
    }

    /// Whether a segment has written any bytes.
    #[must_use]
    pub fn has_written(&self, id: SegmentId) -> bool {
        self.find(id).is_some_and(|index| self.active[index].has_written())
    }

    /// Decides what to do with the next bytes of a segment's response, of which `count` have arrived. What it reserves
    /// must be written, or given up, before the next call.
    pub fn reserve(&mut self, id: SegmentId, count: u64, now: Instant) -> Next {
        let Some(index) = self.find(id).filter(|index| !self.active[*index].is_over) else { return Next::Stop };
        let position = self.active[index].position;
        let (missing, missing_end) = self.taken.gap_from(position);
        let mut limit = self.limit(index);
        if missing >= limit && self.take_over_slower(index, limit, now) {
            limit = self.limit(index);
        }
        let active = &mut self.active[index];
        if missing >= limit {
            active.is_over = true;
            return Next::Stop;
        }
        let is_missing = missing == position;
        let count = count.min(if is_missing { missing_end.min(limit) } else { missing } - position);
        active.position += count;
        if let Some(meter) = &mut active.meter {
            meter.advance(now, active.position);
        }
        if !is_missing {
            return Next::Skip(count);
        }
        active.reserved = Some((position, active.position));
        self.taken.add(position, active.position);
        Next::Write { offset: position, count }
    }

    /// Records that the bytes that a segment has reserved are written. Returns whether it has more to write.
    pub fn finish_write(&mut self, id: SegmentId) -> bool {
        let Some(index) = self.find(id) else { return false };
        let active = &mut self.active[index];
        let Some((start, end)) = active.reserved.take() else { return false };
        active.written.add(start, end);
        self.written.add(start, end);
        let is_beyond_own_end = end > active.end;
        if self.is_complete() {
            self.close();
        } else if is_beyond_own_end {
            // The next segment may have nothing left.
            self.end_those_without_more();
        } else if !self.has_more(index) {
            self.active[index].is_over = true;
        }
        !self.active[index].is_over
    }

    /// Frees the bytes that a segment has reserved: they could not be written.
    pub fn give_up_write(&mut self, id: SegmentId) {
        if let Some((start, end)) = self.find_mut(id).and_then(|active| active.reserved.take()) {
            self.taken.remove(start, end);
        }
    }

    /// If the file's length is unknown, treats the end of this segment's body as the end of the file.
    pub fn infer_length(&mut self, id: SegmentId) {
        if let (None, Some(index)) = (self.length, self.find(id)) {
            let active = &mut self.active[index];
            active.end = active.position;
            self.length = Some(active.position);
            self.close();
        }
    }

    /// Treats the bytes that a segment has written as missing again, because they do not belong to the file. Returns
    /// how many they are: none if the file is complete or closed.
    pub fn rewind(&mut self, id: SegmentId) -> u64 {
        let Some(index) = self.find(id).filter(|_| !self.is_closed) else { return 0 };
        let active = &mut self.active[index];
        active.position = active.start;
        let written = std::mem::take(&mut active.written);
        let count = written.count();
        for (start, end) in Vec::from(written) {
            self.written.remove(start, end);
            self.taken.remove(start, end);
        }
        count
    }

    /// Ends the assignment of a segment. The bytes it has written stay, and the others become free. If it has written
    /// nothing, its whole range returns to the segment before it, if that one's response includes it.
    pub fn unassign(&mut self, id: SegmentId, now: Instant) {
        self.give_up_write(id);
        let Some(index) = self.find(id) else { return };
        let left = self.active.swap_remove(index);
        let has_written = left.has_written();
        if let Some(meter) = left.meter.as_ref().filter(|_| has_written) {
            self.finished_speed = Some(meter.mean(now, left.position));
        }
        let is_before = |other: &&mut Active| !other.is_over && other.end == left.start && other.reach >= left.end;
        if let Some(before) = self.active.iter_mut().find(is_before).filter(|_| !has_written) {
            before.end = left.end;
        }
    }

    fn add(&mut self, start: u64, end: u64, now: Instant) -> &mut Active {
        let added = Active::new(SegmentId(self.next_id), (start, end), now);
        self.next_id += 1;
        self.active.push(added);
        let last = self.active.len() - 1;
        &mut self.active[last]
    }

    fn find(&self, id: SegmentId) -> Option<usize> {
        self.active.iter().position(|active| active.id == id)
    }

    fn find_mut(&mut self, id: SegmentId) -> Option<&mut Active> {
        self.active.iter_mut().find(|active| active.id == id)
    }

    /// Returns where a segment must stop for now: at its end, or further on where the next ones have no response yet
    /// and its own response includes them.
    fn limit(&self, index: usize) -> u64 {
        let Active { mut end, reach, .. } = self.active[index];
        let follows = |next: &&Active, end| {
            next.start == end && next.end > end && next.end <= reach && next.meter.is_none() && !next.is_over
        };
        while let Some(next) = self.active.iter().find(|next| follows(next, end)) {
            end = next.end;
        }
        end
    }

    /// Lets a segment that has reached its limit continue through the next one, if its own response will bring the rest
    /// of that sooner, although it repeats what is written of it. The next segment is over then.
    fn take_over_slower(&mut self, index: usize, limit: u64, now: Instant) -> bool {
        let active = &self.active[index];
        let is_next = |next: &Active| next.start == limit && !next.is_over && next.end <= active.reach;
        let Some(next_index) = self.active.iter().position(is_next) else { return false };
        let next = &self.active[next_index];
        let end = next.end;
        let (missing, _) = self.taken.gap_from(next.position);
        let (Some(speed), Some(next_speed)) = (active.recent_speed(now), next.recent_speed(now)) else { return false };
        // It may be beyond that end: it went on before the next segment had a response, and another has cut that since.
        let Some(left) = end.checked_sub(active.position) else { return false };
        let time = left as f64 / speed.max(1.0);
        let next_time = end.saturating_sub(missing) as f64 / next_speed.max(1.0);
        let is_slower = next_time > time + MIN_TIME_SAVED.as_secs_f64();
        if is_slower {
            self.active[index].end = end;
            self.active[next_index].end();
        }
        is_slower
    }

    fn has_more(&self, index: usize) -> bool {
        !self.is_closed && self.taken.gap_from(self.active[index].position).0 < self.limit(index)
    }

    fn end_those_without_more(&mut self) {
        for index in 0..self.active.len() {
            if !self.active[index].is_over && !self.has_more(index) {
                self.active[index].end();
            }
        }
    }

    /// Returns how many segments are assigned and not over.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.active.iter().filter(|active| !active.is_over).count()
    }

    fn has_all_connections(&self) -> bool {
        self.is_closed || self.connections() >= MAX_CONNECTIONS
    }

    /// Returns which segment another connection should take bytes from, and what.
    fn find_tail(&self, demand: Demand, now: Instant) -> Option<(usize, Tail)> {
        let round_trip = self.round_trip.map_or(demand.round_trip, |shortest| shortest.min(demand.round_trip));
        let found = self.active.iter().enumerate();
        let found = found.filter_map(|(index, active)| {
            let (missing, _) = self.taken.gap_from(active.position);
            Some((index, active.candidate(missing, round_trip, now)?))
        });
        let (indices, candidates): (Vec<_>, Vec<_>) = found.unzip();
        let situation = Situation {
            candidates: &candidates,
            connections: self.connections() + 1,
            finished_speed: self.finished_speed,
            length: self.length?,
            proven: self.proven,
            tried: self.tried,
        };
        choose_tail(&situation, &Demand { round_trip, ..demand }).map(|tail| (indices[tail.index], tail))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::Wake;

    use proptest::prelude::*;

    use super::super::active::MIN_STALL;
    use super::*;

    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    const DEMAND: Demand = Demand { round_trip: Duration::from_millis(10), is_trial: false };

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn milliseconds(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn new(written: &[(u64, u64)], length: Option<u64>) -> Segments {
        let mut segments = Segments::default();
        segments.restart(Ranges::try_from(written.to_vec()).unwrap(), length);
        segments
    }

    /// Receives bytes and writes them at once. Returns how many were written, and how many were skipped.
    fn receive(segments: &mut Segments, id: SegmentId, mut count: u64, now: Instant) -> (u64, u64) {
        let (mut written, mut skipped) = (0, 0);
        while count > 0 {
            let step = match segments.reserve(id, count, now) {
                Next::Write { count, .. } => {
                    segments.finish_write(id);
                    written += count;
                    count
                }
                Next::Skip(count) => {
                    skipped += count;
                    count
                }
                Next::Stop => break,
            };
            count -= step;
        }
        (written, skipped)
    }

    /// A file whose first segment had its response at `now`, and has received `received` by 100 ms later.
    fn started(length: u64, received: u64, now: Instant) -> (Segments, SegmentId) {
        let mut segments = new(&[], Some(length));
        let first = segments.assign_free(now).unwrap();
        assert!(segments.record_response(first, 0, Some(length), now));
        assert_eq!(receive(&mut segments, first, received, now + milliseconds(100)), (received, 0));
        (segments, first)
    }

    #[test]
    fn free_ranges_are_assigned_in_order() {
        let now = Instant::now();
        let mut segments = new(&[(10, 20), (30, 40)], Some(50));
        assert_eq!(segments.free_range(), Some((0, Some(10))));
        let assigned: Vec<_> = std::iter::from_fn(|| segments.assign_free(now)).collect();
        let ranges: Vec<_> = assigned.iter().map(|id| segments.begin_request(*id)).collect();
        assert_eq!(ranges, [(0, Some(10)), (20, Some(30)), (40, Some(50))]);
        for id in assigned {
            assert!(!segments.is_complete());
            receive(&mut segments, id, 10, now);
            segments.unassign(id, now);
        }
        assert!(segments.is_complete() && segments.written_ranges().count() == 50);
    }

    #[test]
    fn a_body_of_unknown_length_ends_the_file() {
        let now = Instant::now();
        let mut segments = new(&[], None);
        let id = segments.assign_free(now).unwrap();
        assert_eq!(segments.begin_request(id), (0, None));
        assert!(segments.record_response(id, 0, None, now));
        receive(&mut segments, id, 7, now);
        assert_eq!(segments.time_left(DEMAND, now + milliseconds(9000)), None, "nothing can be claimed of it");
        segments.infer_length(id);
        assert!(segments.is_over(id) && segments.is_complete());
    }

    #[test]
    fn what_is_reserved_is_not_recorded_as_written() {
        let now = Instant::now();
        let mut segments = new(&[], Some(10));
        let id = segments.assign_free(now).unwrap();
        assert_eq!(segments.reserve(id, 6, now), Next::Write { offset: 0, count: 6 });
        assert!(segments.written_ranges().count() == 0 && segments.has_reserved());
        assert_eq!(segments.free_range(), None);
        segments.close();
        assert!(!segments.is_idle(), "it may still be writing");
        assert!(!segments.finish_write(id), "closed");
        assert_eq!(segments.written_ranges().count(), 6);
        assert_eq!(segments.reserve(id, 4, now), Next::Stop);
        assert!(segments.is_idle() && !segments.is_complete());
    }

    #[test]
    fn bytes_that_could_not_be_written_are_free_again() {
        let now = Instant::now();
        let mut segments = new(&[], Some(10));
        let id = segments.assign_free(now).unwrap();
        segments.reserve(id, 6, now);
        segments.give_up_write(id);
        segments.unassign(id, now);
        assert_eq!(segments.free_range(), Some((0, None)));
    }

    #[test]
    fn claims_come_from_the_end_and_the_first_segment_is_cut_once() {
        let now = Instant::now();
        let (mut segments, first) = started(64 * MIB, MIB, now);
        assert_eq!(segments.assign(DEMAND, now + milliseconds(99)), None, "the speed is unknown");
        let later = now + milliseconds(100);
        let claims: Vec<_> = (0..3).map(|_| segments.assign(DEMAND, later).unwrap()).collect();
        let ranges: Vec<_> = claims.iter().map(|id| segments.begin_request(*id)).collect();
        // 63 MiB / (2 * 2), then of what is left / (2 * 3), and / (2 * 4).
        let starts: Vec<_> = ranges.iter().map(|(start, _)| start / KIB).collect();
        assert_eq!(starts, [49408, 41344, 36304]);
        assert_eq!(ranges.iter().map(|(_, end)| end.unwrap()).max(), Some(64 * MIB));
        for (id, (start, end)) in claims.iter().zip(&ranges) {
            assert!(segments.record_response(*id, *start, *end, later + milliseconds(10)));
            let length = end.unwrap() - start;
            assert_eq!(receive(&mut segments, *id, length, later), (length, 0));
            assert!(segments.is_over(*id), "its own response ends here");
            segments.unassign(*id, later);
        }
        let unclaimed = ranges[2].0 - MIB;
        assert_eq!(receive(&mut segments, first, 64 * MIB, later), (unclaimed, 0));
        assert!(segments.is_over(first) && segments.is_complete());
    }

    #[test]
    fn a_segment_continues_into_one_without_a_response_until_that_arrives() {
        let now = Instant::now();
        let later = now + milliseconds(100);
        for is_answered in [true, false] {
            let (mut segments, first) = started(8 * MIB, MIB, now);
            let woken = [Arc::<Woken>::default(), Arc::default()];
            let next = segments.assign(DEMAND, later).unwrap();
            segments.set_waker(first, Arc::clone(&woken[0]).into());
            segments.set_waker(next, Arc::clone(&woken[1]).into());
            let (start, end) = segments.begin_request(next);
            let (own, eaten) = (start - MIB, MIB / 2);
            assert_eq!(receive(&mut segments, first, own + eaten, later), (own + eaten, 0));
            let rest = 8 * MIB - start - eaten;
            if is_answered {
                assert!(segments.record_response(next, start, end, later));
                assert!(segments.is_over(first));
                assert_eq!(receive(&mut segments, next, 8 * MIB, later), (rest, eaten));
            } else {
                assert_eq!(receive(&mut segments, first, 8 * MIB, later), (rest, 0));
                assert!(segments.is_over(next) && !segments.record_response(next, start, end, later));
            }
            assert!(segments.is_complete());
            assert_eq!(woken.map(|woken| woken.0.load(Ordering::Relaxed)), [1, 1]);
        }
    }

    #[test]
    fn the_range_of_a_failed_request_returns_to_the_segment_before_it() {
        let now = Instant::now();
        let later = now + milliseconds(100);
        let (mut segments, first) = started(8 * MIB, MIB, now);
        let next = segments.assign(DEMAND, later).unwrap();
        segments.unassign(next, later);
        assert_eq!((segments.free_range(), segments.begin_request(first)), (None, (MIB, Some(8 * MIB))));
        let next = segments.assign(DEMAND, later).unwrap();
        let (start, end) = segments.begin_request(next);
        assert!(segments.record_response(next, start, end, later));
        receive(&mut segments, next, MIB, later);
        assert_eq!(segments.rewind(next), MIB);
        segments.unassign(next, later);
        assert_eq!(segments.begin_request(first), (MIB, Some(8 * MIB)), "its bytes were not part of the file");
        let next = segments.assign(DEMAND, later).unwrap();
        assert!(segments.record_response(next, start, end, later));
        receive(&mut segments, next, MIB, later);
        segments.unassign(next, later);
        assert_eq!(segments.free_range(), Some((start + MIB, None)), "some of it is written");
        // Another response must reach as far.
        segments.unassign(first, later);
        let again = segments.assign_free(later).unwrap();
        assert_eq!(segments.begin_request(again), (MIB, Some(start)));
        assert!(segments.record_response(again, MIB, Some(start), later));
        let last = segments.assign_free(later).unwrap();
        segments.unassign(last, later);
        assert_eq!(segments.free_range(), Some((start + MIB, None)));
    }

    #[test]
    fn the_rest_of_a_stalled_segment_is_requested_again_and_its_thread_woken() {
        let now = Instant::now();
        let (mut segments, first) = started(256 * KIB, 100 * KIB, now);
        let woken = Arc::<Woken>::default();
        segments.set_waker(first, Arc::clone(&woken).into());
        let later = now + milliseconds(100) + MIN_STALL;
        assert_eq!(segments.time_left(DEMAND, later), Some(Duration::MAX));
        let second = segments.assign(DEMAND, later).unwrap();
        assert_eq!(segments.begin_request(second), (100 * KIB, Some(256 * KIB)));
        assert_eq!(receive(&mut segments, first, KIB, later), (KIB, 0), "it goes on after all");
        assert_eq!(segments.time_left(DEMAND, later + MIN_STALL), None, "the new request has not had the time");
        assert!(segments.record_response(second, 100 * KIB, Some(256 * KIB), later));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(segments.reserve(first, KIB, later), Next::Stop);
        // It stalls as well. Each takeover waits twice as long as the one before.
        assert_eq!(segments.time_left(DEMAND, later + 2 * MIN_STALL - milliseconds(1)), None);
        let later = later + 2 * MIN_STALL;
        let third = segments.assign(DEMAND, later).unwrap();
        assert_eq!(segments.begin_request(third), (101 * KIB, Some(256 * KIB)));
        assert_eq!(segments.assign(DEMAND, later + 3 * MIN_STALL), None);
        assert!(segments.assign(DEMAND, later + 5 * MIN_STALL).is_some(), "there was no response in time");
    }

    #[test]
    fn one_file_has_sixteen_connections_at_most() {
        let now = Instant::now();
        let (mut segments, _) = started(4096 * MIB, MIB, now);
        let count = std::iter::from_fn(|| segments.assign(DEMAND, now + milliseconds(100))).count();
        assert_eq!(count, MAX_CONNECTIONS - 1);
        assert_eq!(segments.time_left(DEMAND, now + milliseconds(5000)), None);
    }

    #[test]
    fn threads_of_earlier_segments_can_do_nothing_more() {
        let now = Instant::now();
        let (mut segments, first) = started(8 * MIB, MIB, now);
        segments.restart(Ranges::default(), Some(4 * MIB));
        let again = segments.assign_free(now).unwrap();
        assert!(first != again && segments.is_over(first));
        assert_eq!(segments.reserve(first, 1, now), Next::Stop);
        segments.unassign(first, now);
        assert_eq!(segments.reserve(again, 1, now), Next::Write { offset: 0, count: 1 });
    }

    /// Threads write while others take from them as fast as they can: no byte is written twice, and none is missed.
    #[test]
    fn each_byte_is_written_once_by_many_threads() {
        const LENGTH: u64 = 200 * MIB;
        let start = Instant::now();
        let segments = Mutex::new(new(&[], Some(LENGTH)));
        let written = Mutex::new(Vec::new());
        let write = |id: SegmentId, mut random: fastrand::Rng| {
            let (from, to) = segments.lock().unwrap().begin_request(id);
            if !segments.lock().unwrap().record_response(id, from, to, start) {
                return;
            }
            loop {
                let next = segments.lock().unwrap().reserve(id, random.u64(1..=128 * KIB), start);
                match next {
                    Next::Write { offset, count } => {
                        written.lock().unwrap().push((offset, count));
                        if !segments.lock().unwrap().finish_write(id) {
                            break;
                        }
                    }
                    Next::Skip(_) => {}
                    Next::Stop => break,
                }
            }
            segments.lock().unwrap().unassign(id, start);
        };
        std::thread::scope(|scope| {
            let first = segments.lock().unwrap().assign_free(start).unwrap();
            let write = &write;
            scope.spawn(move || write(first, fastrand::Rng::with_seed(0)));
            let mut number = 0;
            while !segments.lock().unwrap().is_complete() {
                // By this clock every segment is slow, and has stalled unless it is writing.
                let taken = segments.lock().unwrap().assign(DEMAND, start + milliseconds(1_000_000));
                if let Some(taken) = taken {
                    number += 1;
                    scope.spawn(move || write(taken, fastrand::Rng::with_seed(number)));
                }
                std::thread::yield_now();
            }
        });
        let mut written = written.into_inner().unwrap();
        written.sort_unstable();
        let end = written.iter().fold(0, |end, (offset, count)| {
            assert_eq!(*offset, end);
            offset + count
        });
        assert_eq!(end, LENGTH);
    }

    /// What a simulated download took.
    #[derive(Debug, Default)]
    struct Simulated {
        seconds: f64,
        requests: usize,
        /// Bytes that were received but not written, and those that were in flight when a response was cut.
        wasted: u64,
    }

    /// Downloads a file in virtual time, with `threads` connections to a server that answers each request after a
    /// round trip, and sends the response at a speed of its own, in KiB per second: `speed` is given its number.
    fn simulate(length: u64, threads: usize, round_trip: u64, speed: impl Fn(usize) -> u64) -> Simulated {
        struct Connection {
            id: SegmentId,
            answered_at: Option<Instant>,
            range: (u64, Option<u64>),
            /// Bytes of the response that are left.
            left: u64,
            received_at: Instant,
            speed: u64,
        }
        const TICK: u64 = 5;
        const STALL_TIMEOUT: Duration = Duration::from_secs(30);
        let demand = Demand { round_trip: milliseconds(round_trip), is_trial: false };
        let start = Instant::now();
        let mut result = Simulated::default();
        let mut segments = new(&[], Some(length));
        let first = segments.assign_free(start).unwrap();
        assert!(segments.record_response(first, 0, Some(length), start));
        let first = Connection {
            id: first,
            answered_at: None,
            range: (0, None),
            left: length,
            received_at: start,
            speed: speed(0) * KIB,
        };
        let mut connections = vec![first];
        result.requests = 1;
        for tick in 1.. {
            let now = start + milliseconds(tick * TICK);
            assert!(tick < 2_000_000 / TICK, "it takes more than half an hour: {result:?}");
            for connection in &mut connections {
                if connection.answered_at.is_some_and(|at| now >= at) {
                    connection.answered_at = None;
                    let (from, to) = connection.range;
                    segments.record_response(connection.id, from, to, now);
                }
                if connection.answered_at.is_none() {
                    let received = (connection.speed * TICK / 1000).min(connection.left);
                    let (written, _) = receive(&mut segments, connection.id, received, now);
                    connection.left -= received;
                    if received > 0 {
                        connection.received_at = now;
                    }
                    result.wasted += received - written;
                }
            }
            let (over, going): (Vec<_>, Vec<_>) = connections.into_iter().partition(|connection| {
                segments.is_over(connection.id) || now >= connection.received_at + STALL_TIMEOUT
            });
            connections = going;
            for connection in over {
                result.wasted += (connection.speed * round_trip / 1000).min(connection.left);
                segments.unassign(connection.id, now);
            }
            if segments.is_complete() {
                result.seconds = (tick * TICK) as f64 / 1000.0;
                return result;
            }
            if connections.len() < threads
                && let Some(id) = segments.assign(demand, now)
            {
                let range = segments.begin_request(id);
                let (answered_at, left) = (Some(now + milliseconds(round_trip)), range.1.unwrap() - range.0);
                connections.push(Connection {
                    id,
                    answered_at,
                    range,
                    left,
                    received_at: now,
                    speed: speed(result.requests) * KIB,
                });
                result.requests += 1;
            }
        }
        unreachable!()
    }

    #[test]
    fn connections_end_together_and_little_is_thrown_away() {
        for (mib, threads, round_trip, speeds, seconds, wasted_kib, requests) in [
            // One connection.
            (8, 1, 10, &[1024][..], 8.1, 0, 1),
            // Equally fast ones, which would take 4.0, 4.1 and 0.3 seconds at best.
            (64, 4, 10, &[4096], 4.2, 128, 20),
            (128, 16, 120, &[2048], 5.0, 2100, 42),
            (1, 16, 10, &[512], 0.5, 64, 10),
            // The first is slow: the others fetch the file.
            (16, 4, 10, &[20, 4096], 1.6, 64, 22),
            (16, 2, 10, &[20, 4096], 4.3, 64, 16),
            (16, 16, 100, &[20, 512], 2.9, 500, 40),
            // The first stalls from the start.
            (16, 4, 10, &[0, 4096], 1.8, 64, 22),
            // Half of them are slow.
            (32, 8, 50, &[4096, 100, 4096, 100, 4096, 100, 4096, 100, 4096], 2.5, 600, 38),
            // Two of eight stall.
            (32, 8, 50, &[4096, 4096, 0, 4096, 0, 4096], 1.7, 800, 22),
        ] {
            let result = simulate(mib * MIB, threads, round_trip, |number| speeds[number.min(speeds.len() - 1)]);
            let is_good = result.seconds <= seconds && result.wasted <= wasted_kib * KIB && result.requests <= requests;
            assert!(is_good, "{mib} MiB, {threads} threads, {round_trip} ms, {speeds:?}: {result:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever the speeds of the connections, as long as some are alive, the file completes, and what is received
        /// twice or thrown away stays bounded.
        #[test]
        fn any_mixture_of_connections_completes(
            speeds in proptest::collection::vec(prop_oneof![Just(0u64), Just(20), Just(500), Just(4096)], 1..12),
            threads in 2usize..=16,
            round_trip in 1u64..200,
            mib in 1u64..32,
        ) {
            // Only every other request can stall.
            let speed = |number: usize| match speeds[number % speeds.len()] {
                0 if number % 2 == 1 => 1000,
                speed => speed,
            };
            let result = simulate(mib * MIB, threads, round_trip, speed);
            let in_flight = 4096 * KIB * round_trip / 1000;
            let bound = mib * MIB / 10 + MIB + 4 * in_flight;
            prop_assert!(result.wasted <= bound, "{:?} > {}", result, bound);
            prop_assert!(result.requests as u64 <= 16 * mib + 64, "{:?}", result);
        }
    }

    proptest! {
        /// After any order of operations, no byte is reserved twice or lost, and the file can be finished.
        #[test]
        fn no_byte_is_written_twice_or_lost(steps in proptest::collection::vec((0u8..12, any::<u8>(), 1..MIB), 0..300)) {
            const LENGTH: u64 = 20 * MIB;
            let mut now = Instant::now();
            let mut segments = new(&[], Some(LENGTH));
            let mut held: Vec<SegmentId> = Vec::new();
            let mut answered: HashMap<u64, Ranges> = HashMap::new();
            let mut reserved: HashMap<u64, (u64, u64)> = HashMap::new();
            let mut model = Ranges::default();
            for (step, which, count) in steps {
                now += milliseconds(30);
                let is_open = !segments.is_closed();
                let index = usize::from(which).checked_rem(held.len());
                match (step, index.map(|index| (index, held[index]))) {
                    (0, _) => held.extend(segments.assign_free(now)),
                    (1..=2, _) => held.extend(segments.assign(DEMAND, now)),
                    (3, _) => now += milliseconds(700),
                    (4..=5, Some((_, id))) if !answered.contains_key(&id.0) => {
                        let (start, end) = segments.begin_request(id);
                        let range_end = if which % 2 == 0 { end } else { Some(LENGTH) };
                        if segments.record_response(id, start, range_end, now) {
                            answered.insert(id.0, Ranges::default());
                        }
                    }
                    (6..=9, Some((_, id))) if answered.contains_key(&id.0) => {
                        if let Some((start, end)) = reserved.remove(&id.0) {
                            segments.finish_write(id);
                            model.add(start, end);
                            answered.get_mut(&id.0).unwrap().add(start, end);
                        } else if let Next::Write { offset, count } = segments.reserve(id, count, now) {
                            let end = offset + count;
                            let is_missing = model.gap_from(offset) >= (offset, end);
                            let is_free = reserved.values().all(|(from, to)| *to <= offset || end <= *from);
                            prop_assert!(is_missing && is_free, "reserved twice: {offset} {end}");
                            reserved.insert(id.0, (offset, end));
                        }
                    }
                    (10, Some((index, id))) => {
                        reserved.remove(&id.0);
                        segments.unassign(id, now);
                        held.swap_remove(index);
                    }
                    (11, Some((_, id))) if !reserved.contains_key(&id.0) && is_open => {
                        let own = answered.get_mut(&id.0).map(std::mem::take).unwrap_or_default();
                        prop_assert_eq!(segments.rewind(id), own.count());
                        for (start, end) in Vec::from(own) {
                            model.remove(start, end);
                        }
                    }
                    _ => {}
                }
                prop_assert_eq!(segments.written_ranges(), &model);
            }
            for id in held {
                segments.unassign(id, now);
            }
            while let Some(id) = segments.assign_free(now) {
                receive(&mut segments, id, LENGTH, now);
                segments.unassign(id, now);
            }
            prop_assert!(segments.is_complete());
        }
    }
}
