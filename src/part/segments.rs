//! Which bytes of one file are there, which are being filled, and which are free; and where to split what a thread
//! fills. Pure: the file itself and the clock are another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::meter::Meter;
use super::ranges::Ranges;

/// No half of a piece is smaller than this.
const MIN_SEGMENT: u64 = 1024 * 1024;

/// A piece is split if it would take longer than this: a connection costs something as well.
const MIN_TIME_LEFT: Duration = Duration::from_secs(1);

/// The most that a thread writes between two looks at the end of its piece; less than the least half.
pub const MAX_WRITE: u64 = MIN_SEGMENT / 2;

/// Stands for the end of a file whose length is not known.
const UNKNOWN: u64 = u64::MAX;

/// A range of a file that one thread fills from its start on. Others may bring its end nearer meanwhile, by the rule of
/// [`Segments::split`]; it costs the thread no lock to see that.
#[derive(Debug)]
pub struct Segment {
    position: AtomicU64,
    end: AtomicU64,
}

impl Segment {
    /// The place of the next byte.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position.load(SeqCst)
    }

    /// The place after its last byte; `None` where nobody knows it.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        Some(self.end.load(SeqCst)).filter(|end| *end != UNKNOWN)
    }

    /// How many bytes its thread may write now.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.end.load(SeqCst).saturating_sub(self.position()).min(MAX_WRITE)
    }

    /// Its thread has written bytes, no more than there was room for.
    pub fn advance(&self, count: u64) {
        self.position.fetch_add(count, SeqCst);
    }
}

/// The pieces of one file.
#[derive(Debug, Default)]
pub struct Segments {
    length: Option<u64>,
    done: Ranges,
    active: Vec<ActiveSegment>,
}

/// A piece that a thread fills, or asks for.
#[derive(Debug)]
struct ActiveSegment {
    segment: Arc<Segment>,
    start: u64,
    /// The speed of the piece that this was cut from.
    assumed: Option<f64>,
    answer: Option<Answered>,
}

/// A piece whose answer has come.
#[derive(Debug)]
struct Answered {
    /// How far the answer goes; the piece may grow up to there again.
    range_end: u64,
    meter: Meter,
}

impl Segments {
    /// A file of which `done` is there and nothing is being filled.
    #[must_use]
    pub fn new(done: Ranges, length: Option<u64>) -> Self {
        Self { length, done, active: Vec::new() }
    }

    /// How many bytes are there, in all.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.arrived().count()
    }

    /// The bytes that are there.
    #[must_use]
    pub fn arrived(&self) -> Ranges {
        let mut arrived = self.done.clone();
        for active in &self.active {
            arrived.add(active.start, active.segment.position());
        }
        arrived
    }

    /// Whether every byte is there, and no thread has anything left to do.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.active.is_empty() && self.length.is_some_and(|length| self.done.gap(length).is_none())
    }

    /// Whether no thread fills or asks for anything.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// The first bytes that are neither there nor being filled: from a place up to another, or to the end of the file.
    #[must_use]
    pub fn gap(&self) -> Option<(u64, Option<u64>)> {
        let whole = self.length.unwrap_or(UNKNOWN);
        self.first_gap().map(|(start, end)| (start, Some(end).filter(|end| *end != whole)))
    }

    fn first_gap(&self) -> Option<(u64, u64)> {
        let mut taken = self.done.clone();
        for ActiveSegment { segment, start, .. } in &self.active {
            taken.add(*start, segment.end.load(SeqCst));
        }
        taken.gap(self.length.unwrap_or(UNKNOWN))
    }

    /// Takes the first gap, to be filled.
    pub fn take(&mut self) -> Option<Arc<Segment>> {
        let (start, end) = self.first_gap()?;
        Some(self.fill(start, end, None))
    }

    /// The answer to a piece has come, and goes up to `reach`, or nobody knows how far. Says whether the piece still is to be filled.
    pub fn answered(&mut self, segment: &Arc<Segment>, range_end: Option<u64>, now: Instant) -> bool {
        let Some(active) = self.active.iter_mut().find(|active| Arc::ptr_eq(&active.segment, segment)) else {
            return false;
        };
        let meter = Meter::new(now, active.start, active.assumed);
        active.answer = Some(Answered { range_end: range_end.unwrap_or(UNKNOWN), meter });
        true
    }

    /// How long the slowest piece that can be split will take, if that is long enough to split it.
    pub fn longest(&mut self, now: Instant) -> Option<Duration> {
        self.slowest(now).map(|(_, time, _)| time)
    }

    /// Takes the second half of the slowest piece, if that is worth it.
    ///
    /// Its thread looks at the end before it reads, and moves the position after it has written, no more than
    /// [`MAX_WRITE`] further. So when the position, looked at after the end was brought nearer, is at least so far
    /// from the new end, the thread cannot have written beyond it and will not. Otherwise, when this thread was held
    /// up in between, the end is put back: a thread that saw the nearer one asks [`goes_on`](Self::goes_on). All of this
    /// rests on one order of what is seen of the end and of the position, and so on `SeqCst`.
    pub fn split(&mut self, now: Instant) -> Option<Arc<Segment>> {
        let (index, _, speed) = self.slowest(now)?;
        let segment = &self.active[index].segment;
        let end = segment.end.load(SeqCst);
        let middle = end - end.saturating_sub(segment.position()) / 2;
        segment.end.store(middle, SeqCst);
        if segment.position() + MAX_WRITE > middle {
            segment.end.store(end, SeqCst);
            return None;
        }
        Some(self.fill(middle, end, speed))
    }

    /// Whether a piece whose thread has come to its end goes on: the end was put back, or what was cut from the piece
    /// was asked for and has not been answered, and is as well read from the answer that is here.
    pub fn extend(&mut self, segment: &Arc<Segment>) -> bool {
        if segment.room() > 0 {
            return true;
        }
        let end = segment.position();
        let is_next = |active: &ActiveSegment| active.start == end && active.answer.is_none();
        let next = self.active.iter().position(is_next);
        let Some((next, further)) = next.map(|index| (index, self.active[index].segment.end.load(SeqCst))) else {
            return false;
        };
        let is_within_reach = further <= self.reach_of(segment);
        if is_within_reach {
            segment.end.store(further, SeqCst);
            self.active.swap_remove(next);
        }
        is_within_reach
    }

    /// The body of a piece has ended: if the end of the file was not known, it is now.
    pub fn body_ended(&mut self, segment: &Arc<Segment>) {
        if self.length.is_none() {
            self.length = Some(segment.position());
            segment.end.store(segment.position(), SeqCst);
        }
    }

    /// What was written of a piece is not of the file. Says how many bytes that were.
    pub fn discard_written(&mut self, segment: &Arc<Segment>) -> u64 {
        let active = self.active.iter().find(|active| Arc::ptr_eq(&active.segment, segment));
        let start = active.map_or(segment.position(), |active| active.start);
        segment.position.swap(start, SeqCst) - start
    }

    /// A thread leaves its piece. What is written of it is there; if that is nothing, the whole goes back to the piece
    /// that it was cut from; else the rest is free.
    pub fn leave(&mut self, segment: &Arc<Segment>) {
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

    /// Takes pieces that have not been answered from their threads.
    pub fn release_unanswered(&mut self) {
        self.active.retain(|active| active.answer.is_some());
    }

    fn fill(&mut self, start: u64, end: u64, assumed: Option<f64>) -> Arc<Segment> {
        let segment = Arc::new(Segment { position: AtomicU64::new(start), end: AtomicU64::new(end) });
        self.active.push(ActiveSegment { segment: Arc::clone(&segment), start, assumed, answer: None });
        segment
    }

    fn reach_of(&self, segment: &Arc<Segment>) -> u64 {
        self.active.iter().find(|active| Arc::ptr_eq(&active.segment, segment)).map_or(0, ActiveSegment::range_end)
    }

    /// The piece that takes longest of those that are worth splitting, how long it takes, and its speed.
    fn slowest(&mut self, now: Instant) -> Option<(usize, Duration, Option<f64>)> {
        self.length?;
        let times =
            self.active.iter_mut().enumerate().filter_map(|(index, ActiveSegment { segment, answer, assumed, .. })| {
                let rest = segment.end.load(SeqCst).saturating_sub(segment.position());
                let speed = match answer {
                    Some(answer) => answer.meter.speed(now, segment.position()),
                    None => *assumed,
                };
                let time = Duration::try_from_secs_f64(rest as f64 / speed?).unwrap_or(Duration::MAX);
                (rest >= 2 * MIN_SEGMENT && time > MIN_TIME_LEFT).then_some((index, time, speed))
            });
        times.max_by_key(|(_, time, _)| *time)
    }
}

impl ActiveSegment {
    fn range_end(&self) -> u64 {
        self.answer.as_ref().map_or(0, |answer| answer.range_end)
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

    /// A file of so many MiB whose first piece was answered `now`, and has since come to `position`.
    fn begun(length: u64, position: u64, now: Instant) -> (Segments, Arc<Segment>) {
        let mut segments = Segments::new(Ranges::default(), Some(length * MIB));
        let segment = segments.take().unwrap();
        assert!(segments.answered(&segment, Some(length * MIB), now));
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
    fn gaps_are_taken_one_after_another() {
        let done = Ranges::try_from(vec![(10, 20), (30, 40)]).unwrap();
        let mut segments = Segments::new(done, Some(50));
        assert_eq!(segments.gap(), Some((0, Some(10))));
        let taken: Vec<_> = std::iter::from_fn(|| segments.take()).collect();
        let bounds: Vec<_> = taken.iter().map(|segment| (segment.position(), end(segment))).collect();
        assert_eq!(bounds, [(0, 10), (20, 30), (40, 50)]);
        for segment in &taken {
            assert!(!segments.is_whole());
            segment.advance(10);
            segments.leave(segment);
        }
        assert!(segments.is_whole() && segments.received() == 50);
    }

    #[test]
    fn a_body_whose_end_was_not_known_ends_the_file() {
        let mut segments = Segments::new(Ranges::default(), None);
        let segment = segments.take().unwrap();
        assert!(segments.answered(&segment, None, Instant::now()));
        segment.advance(7);
        assert_eq!(segments.longest(Instant::now() + seconds(9)), None, "it cannot be split");
        segments.body_ended(&segment);
        assert!(segment.room() == 0 && !segments.extend(&segment));
        segments.leave(&segment);
        assert!(segments.is_whole() && segments.length == Some(7));
    }

    #[test]
    fn only_what_takes_long_is_split_and_in_the_middle() {
        let now = Instant::now();
        // 4 MiB in a second, and 8 or 3 MiB to go, or 1; and one that is too young.
        for (length, position, after, middle) in [
            (12, 4, 1000, Some(8)),
            (8, 4, 1000, None),
            (10, 4, 1000, Some(7)),
            (1, 0, 1000, None),
            (12, 4, 99, None),
            (1000, 0, 1000, Some(500)),
        ] {
            let (mut segments, segment) = begun(length, position, now);
            let later = now + Duration::from_millis(after);
            assert_eq!(segments.longest(later).is_some(), middle.is_some(), "{length} {position} {after}");
            let half = segments.split(later);
            let found = half.map(|half| bounds(&half));
            assert_eq!(found, middle.map(|middle| (middle, length)), "{length} {position} {after}");
            assert_eq!(bounds(&segment), (position, middle.unwrap_or(length)));
        }
    }

    #[test]
    fn the_slowest_is_split_again_and_again() {
        let now = Instant::now();
        let (mut segments, first) = begun(64, 0, now);
        first.advance(MIB);
        let later = now + seconds(1);
        let halves: Vec<_> = (0..3).map(|_| segments.split(later).unwrap()).collect();
        // A new piece is taken to be as fast as that which it was cut from.
        let mut found: Vec<_> = halves.iter().chain([&first]).map(|segment| bounds(segment)).collect();
        found.sort_unstable();
        assert_eq!(found, [(1, 16), (16, 32), (32, 48), (48, 64)]);
    }

    #[test]
    fn what_nobody_began_goes_back_to_where_it_was_cut() {
        let now = Instant::now();
        let later = now + seconds(1);
        let (mut segments, first) = begun(12, 4, now);
        let half = segments.split(later).unwrap();
        assert_eq!((bounds(&first), bounds(&half)), ((4, 8), (8, 12)));
        segments.leave(&half);
        assert_eq!(bounds(&first), (4, 12), "its thread had no answer");
        let half = segments.split(later).unwrap();
        assert!(segments.answered(&half, Some(12 * MIB), later));
        half.advance(MIB);
        assert_eq!(segments.discard_written(&half), MIB);
        segments.leave(&half);
        assert_eq!(bounds(&first), (4, 12), "what it had was not of the file");
        let half = segments.split(later).unwrap();
        assert!(segments.answered(&half, Some(12 * MIB), later));
        half.advance(MIB);
        segments.leave(&half);
        assert_eq!((bounds(&first), segments.gap()), ((4, 8), Some((9 * MIB, None))), "some of it is there");
        first.advance(4 * MIB);
        segments.leave(&first);
        assert_eq!(segments.arrived(), Ranges::try_from(vec![(0, 9 * MIB)]).unwrap());
    }

    #[test]
    fn a_piece_goes_on_into_what_has_no_answer() {
        let now = Instant::now();
        let later = now + seconds(1);
        let (mut segments, first) = begun(12, 4, now);
        let half = segments.split(later).unwrap();
        first.advance(4 * MIB);
        assert!(first.room() == 0 && segments.extend(&first));
        assert_eq!(bounds(&first), (8, 12));
        assert!(!segments.answered(&half, Some(12 * MIB), later), "it comes too late");
        segments.leave(&half);
        assert_eq!(bounds(&first), (8, 12));
        first.advance(4 * MIB);
        assert!(!segments.extend(&first));
        segments.leave(&first);
        assert!(segments.is_whole());
    }

    #[test]
    fn a_piece_does_not_go_on_beyond_its_answer() {
        let now = Instant::now();
        let mut segments = Segments::new(Ranges::try_from(vec![(MIB, 2 * MIB)]).unwrap(), Some(3 * MIB));
        let (first, last) = (segments.take().unwrap(), segments.take().unwrap());
        assert!(segments.answered(&first, Some(MIB), now));
        first.advance(MIB);
        assert!(!segments.extend(&first), "the next is not its neighbour");
        let (mut segments, first) = begun(12, 4, now);
        let half = segments.split(now + seconds(1)).unwrap();
        segments.leave(&first);
        // What the first left is taken by one that asks for just that.
        let again = segments.take().unwrap();
        assert_eq!(bounds(&again), (4, 8));
        assert!(segments.answered(&again, Some(8 * MIB), now));
        segments.leave(&half);
        assert_eq!(bounds(&again), (4, 8));
        again.advance(4 * MIB);
        assert!(!segments.extend(&again));
        drop(last);
    }

    /// Threads that fill while another splits as fast as it can: no byte is written twice, and none is left out.
    #[test]
    fn however_threads_meet_each_byte_is_written_once() {
        const LENGTH: u64 = 400 * MIB;
        let begun = Instant::now();
        let segments = Mutex::new(Segments::new(Ranges::default(), Some(LENGTH)));
        let written = Mutex::new(Vec::new());
        let fill = |segment: Arc<Segment>, mut random: fastrand::Rng| {
            if !segments.lock().unwrap().answered(&segment, Some(LENGTH), begun) {
                return;
            }
            loop {
                let room = segment.room();
                if room == 0 {
                    if segments.lock().unwrap().extend(&segment) {
                        continue;
                    }
                    break;
                }
                let count = random.u64(1..=room.min(64 * 1024));
                written.lock().unwrap().push((segment.position(), count));
                segment.advance(count);
            }
            segments.lock().unwrap().leave(&segment);
        };
        std::thread::scope(|scope| {
            let first = segments.lock().unwrap().take().unwrap();
            let fill = &fill;
            scope.spawn(move || fill(first, fastrand::Rng::with_seed(0)));
            let mut number = 0;
            while !segments.lock().unwrap().is_idle() {
                // By this clock everything is slow.
                let half = segments.lock().unwrap().split(begun + seconds(1_000_000));
                if let Some(half) = half {
                    number += 1;
                    scope.spawn(move || fill(half, fastrand::Rng::with_seed(number)));
                }
                std::thread::yield_now();
            }
        });
        assert!(segments.lock().unwrap().is_whole());
        let mut written = written.into_inner().unwrap();
        written.sort_unstable();
        let end = written.iter().fold(0, |end, (position, count)| {
            assert_eq!(*position, end);
            position + count
        });
        assert_eq!(end, LENGTH);
    }

    proptest! {
        /// Any order of takes, answers, writes, splits and leaves: pieces never overlap, and the file can be finished.
        #[test]
        fn pieces_never_overlap(steps in proptest::collection::vec((0u8..6, any::<u8>(), 0u64..=MAX_WRITE), 0..200)) {
            const LENGTH: u64 = 40 * MIB;
            let mut now = Instant::now();
            let mut segments = Segments::new(Ranges::default(), Some(LENGTH));
            let mut held: Vec<(Arc<Segment>, bool)> = Vec::new();
            let mut model = Ranges::default();
            for (step, which, count) in steps {
                now += Duration::from_millis(300);
                let index = usize::from(which).checked_rem(held.len());
                match (step, index) {
                    (0, _) => held.extend(segments.take().map(|segment| (segment, false))),
                    (1, _) => held.extend(segments.split(now).map(|segment| (segment, false))),
                    (2, Some(index)) if !held[index].1 => {
                        let range_end = if which % 2 == 0 { end(&held[index].0) } else { LENGTH };
                        if segments.answered(&held[index].0, Some(range_end), now) {
                            held[index].1 = true;
                        } else {
                            held.swap_remove(index);
                        }
                    }
                    (3 | 4, Some(index)) if held[index].1 => {
                        let segment = &held[index].0;
                        let count = count.min(segment.room());
                        let before = model.count();
                        model.add(segment.position(), segment.position() + count);
                        prop_assert_eq!(model.count(), before + count, "written twice");
                        segment.advance(count);
                        if segment.room() == 0 && !segments.extend(&held[index].0) {
                            segments.leave(&held.swap_remove(index).0);
                        }
                    }
                    (5, Some(index)) => segments.leave(&held.swap_remove(index).0),
                    _ => {}
                }
                prop_assert_eq!(&segments.arrived(), &model);
            }
            for (segment, _) in held {
                segments.leave(&segment);
            }
            while let Some(segment) = segments.take() {
                segment.advance(end(&segment) - segment.position());
                segments.leave(&segment);
            }
            prop_assert!(segments.is_whole());
        }
    }
}
