//! Decides what may start next. Plain data, without threads, clock or network; the pool guards it with a lock.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::time::Instant;

use super::limiter::{Epoch, Limiter};

/// The downloads of a run that have not finished, each known by its position in the plan. `T` is what is kept of a
/// download while it waits for its next attempt.
#[derive(Debug)]
pub struct Queue<T> {
    hosts: Vec<Host<T>>,
    /// The host of the source that each download uses.
    host_of: Vec<u32>,
    /// Hosts at which something may start now, each with the download that would start.
    ready: BTreeSet<(usize, u32)>,
    /// Downloads that wait for their next attempt.
    waiting: BinaryHeap<Reverse<Waiting<T>>>,
    /// When each held host may be contacted again.
    holds: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Downloads that have not finished.
    unfinished: usize,
}

#[derive(Debug)]
struct Host<T> {
    /// Downloads that have not been started yet.
    fresh: VecDeque<usize>,
    /// Downloads whose wait is over.
    due: VecDeque<(usize, T)>,
    /// Downloads that wait for their next attempt.
    waiting: usize,
    in_flight: usize,
    limiter: Limiter,
    held_until: Option<Instant>,
}

#[derive(Debug)]
struct Waiting<T> {
    until: Instant,
    id: usize,
    kept: T,
}

/// Permission for one request to a host. It must be returned with [`Queue::finish`].
#[derive(Debug)]
#[must_use = "a permit that is not returned is lost to its host"]
pub struct Permit {
    id: usize,
    host: u32,
    epoch: Epoch,
}

impl Permit {
    /// The download that it is for, by its position in the plan.
    pub const fn id(&self) -> usize {
        self.id
    }
}

/// What a thread that asks for work should do.
#[derive(Debug)]
pub enum Next<T> {
    /// Start this download, or continue it with what was kept of it.
    Start(Permit, Option<T>),
    /// Nothing may start before [`Queue::next_time`], or before a permit is returned.
    Wait,
    /// Every download has finished.
    Done,
}

/// What a request has shown about its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feedback {
    /// The host processed it.
    Served,
    /// The host refused it because there were too many.
    Throttled,
    /// Nothing; for example, there was no response.
    Unknown,
}

/// What becomes of the download after a request.
#[derive(Debug)]
pub enum Fate<T> {
    /// It has finished.
    Finished,
    /// It is to be retried, not before `at`, at the host of the source that it uses then.
    Retry { at: Instant, host: u32, kept: T },
    /// The request was for a segment; the download has its own permit.
    Segment,
}

impl<T> Queue<T> {
    /// A queue of downloads 0, 1, 2 … `host_of` has the host of each, as a number below `hosts`.
    pub fn new(host_of: Vec<u32>, hosts: usize, per_host: usize) -> Self {
        let mut hosts: Vec<Host<T>> = (0..hosts).map(|_| Host::new(per_host)).collect();
        for (id, host) in host_of.iter().enumerate() {
            hosts[*host as usize].fresh.push_back(id);
        }
        let mut queue = Self {
            unfinished: host_of.len(),
            hosts,
            host_of,
            ready: BTreeSet::new(),
            waiting: BinaryHeap::new(),
            holds: BinaryHeap::new(),
        };
        queue.host_numbers().for_each(|host| queue.update(host, |_| {}));
        queue
    }

    /// The next download to start. Each host offers its retries before its other downloads, and the host whose offer is
    /// first in list order goes first.
    pub fn next(&mut self, now: Instant) -> Next<T> {
        if self.unfinished == 0 {
            return Next::Done;
        }
        self.end_waits_until(now);
        let Some((_, number)) = self.ready.first().copied() else {
            return Next::Wait;
        };
        let start = self.update(number, |host| {
            host.in_flight += 1;
            match host.due.pop_front() {
                Some((id, kept)) => Some((id, Some(kept), host.limiter.epoch())),
                None => host.fresh.pop_front().map(|id| (id, None, host.limiter.epoch())),
            }
        });
        match start {
            Some((id, kept, epoch)) => Next::Start(Permit { id, host: number, epoch }, kept),
            // Unreachable: a host is ready only if it has something to start.
            None => Next::Done,
        }
    }

    /// Whether a segment of a running download may be requested: its host has a permit to spare after reserving one for
    /// each of its waiting downloads.
    pub fn has_permit_for_segment(&self, id: usize) -> bool {
        let host = &self.hosts[self.host_of[id] as usize];
        host.held_until.is_none() && host.in_flight + host.waiting < host.limiter.limit()
    }

    /// A permit for a segment of a running download.
    pub fn permit_segment(&mut self, id: usize) -> Permit {
        let number = self.host_of[id];
        let epoch = self.update(number, |host| {
            host.in_flight += 1;
            host.limiter.epoch()
        });
        Permit { id, host: number, epoch }
    }

    /// Takes a permit back. Returns whether its host may have more requests in flight now than before.
    #[expect(clippy::needless_pass_by_value, reason = "a permit that was returned cannot be used again")]
    pub fn finish(&mut self, permit: Permit, feedback: Feedback, fate: Fate<T>) -> bool {
        let Permit { id, host, epoch } = permit;
        let has_grown = self.update(host, |host| {
            let has_grown = match feedback {
                Feedback::Served => host.limiter.served(),
                Feedback::Throttled => {
                    host.limiter.throttled(host.in_flight, epoch);
                    false
                }
                Feedback::Unknown => false,
            };
            host.in_flight -= 1;
            has_grown
        });
        match fate {
            Fate::Finished => self.unfinished -= 1,
            Fate::Retry { at, host, kept } => {
                self.host_of[id] = host;
                self.hosts[host as usize].waiting += 1;
                self.waiting.push(Reverse(Waiting { until: at, id, kept }));
            }
            Fate::Segment => {}
        }
        has_grown
    }

    /// How many threads to reserve for waiting downloads.
    pub fn reserved(&self) -> usize {
        let held = self.hosts.iter().filter(|host| host.held_until.is_some());
        let startable = held.map(|host| (host.fresh.len() + host.due.len()).min(host.limiter.limit()));
        self.waiting.len() + startable.sum::<usize>()
    }

    /// Holds the host of a download: nothing starts there before `until`.
    pub fn hold_host_of(&mut self, id: usize, until: Instant) {
        self.hold(self.host_of[id], until);
    }

    /// Holds a host: nothing starts there before `until`.
    pub fn hold(&mut self, number: u32, until: Instant) {
        if self.hosts[number as usize].held_until.is_none_or(|earlier| earlier < until) {
            self.holds.push(Reverse((until, number)));
            self.update(number, |host| host.held_until = Some(until));
        }
    }

    /// Whether something may start now.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When the next wait is over.
    pub fn next_time(&self) -> Option<Instant> {
        let waits = self.waiting.peek().map(|Reverse(waiting)| waiting.until);
        let holds = self.holds.peek().map(|Reverse((until, _))| *until);
        waits.into_iter().chain(holds).min()
    }

    /// Ends the waits whose time has come.
    pub fn end_waits_until(&mut self, now: Instant) {
        self.end_waits(|until| until <= now);
    }

    /// Ends every wait at once.
    pub fn end_all_waits(&mut self) {
        self.end_waits(|_| true);
    }

    /// Removes the downloads that were not started, and returns them in list order. Those that wait are still retried.
    pub fn close(&mut self) -> Vec<usize> {
        let mut removed = Vec::new();
        for number in self.host_numbers() {
            self.update(number, |host| removed.extend(host.fresh.drain(..)));
        }
        removed.sort_unstable();
        self.unfinished -= removed.len();
        removed
    }

    fn end_waits(&mut self, is_over: impl Fn(Instant) -> bool) {
        while self.holds.peek().is_some_and(|Reverse((until, _))| is_over(*until)) {
            if let Some(Reverse((until, number))) = self.holds.pop() {
                // A longer hold may have been added since.
                self.update(number, |host| host.held_until = host.held_until.filter(|held| *held > until));
            }
        }
        while self.waiting.peek().is_some_and(|Reverse(waiting)| is_over(waiting.until)) {
            if let Some(Reverse(Waiting { id, kept, .. })) = self.waiting.pop() {
                self.update(self.host_of[id], |host| {
                    host.waiting -= 1;
                    host.due.push_back((id, kept));
                });
            }
        }
    }

    fn host_numbers(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.hosts.len()).unwrap_or(u32::MAX)
    }

    /// Changes a host, and updates `ready` accordingly.
    fn update<R>(&mut self, number: u32, change: impl FnOnce(&mut Host<T>) -> R) -> R {
        let host = &mut self.hosts[number as usize];
        let before = host.first();
        let result = change(host);
        let now = host.first().filter(|_| host.has_room());
        if let Some(id) = before {
            self.ready.remove(&(id, number));
        }
        if let Some(id) = now {
            self.ready.insert((id, number));
        }
        result
    }
}

impl<T> Host<T> {
    const fn new(per_host: usize) -> Self {
        Self {
            fresh: VecDeque::new(),
            due: VecDeque::new(),
            waiting: 0,
            in_flight: 0,
            limiter: Limiter::new(per_host),
            held_until: None,
        }
    }

    /// The download that would start next here.
    fn first(&self) -> Option<usize> {
        self.due.front().map(|(id, _)| *id).or_else(|| self.fresh.front().copied())
    }

    const fn has_room(&self) -> bool {
        self.held_until.is_none() && self.in_flight < self.limiter.limit()
    }
}

impl<T> Ord for Waiting<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.until, self.id).cmp(&(other.until, other.id))
    }
}

impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Waiting<T> {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// A queue with the permits that it has given out.
    struct Run {
        queue: Queue<char>,
        permits: Vec<Permit>,
    }

    impl Run {
        fn new(host_of: &[u32], per_host: usize) -> Self {
            let hosts = host_of.iter().max().map_or(0, |max| *max as usize + 1);
            Self { queue: Queue::new(host_of.to_vec(), hosts, per_host), permits: Vec::new() }
        }

        /// Starts what may start, and returns which downloads that are.
        fn start_all(&mut self, now: Instant) -> Vec<usize> {
            std::iter::from_fn(|| self.start(now).map(|(id, _)| id)).collect()
        }

        fn start(&mut self, now: Instant) -> Option<(usize, Option<char>)> {
            let Next::Start(permit, kept) = self.queue.next(now) else { return None };
            let id = permit.id();
            self.permits.push(permit);
            Some((id, kept))
        }

        /// The time until which nothing may start.
        fn wait(&mut self, now: Instant) -> Option<Instant> {
            assert!(matches!(self.queue.next(now), Next::Wait));
            self.queue.next_time()
        }

        fn is_done(&mut self, now: Instant) -> bool {
            matches!(self.queue.next(now), Next::Done)
        }

        fn permit(&mut self, id: usize) -> Permit {
            let index = self.permits.iter().position(|permit| permit.id() == id).unwrap();
            self.permits.remove(index)
        }

        fn finish(&mut self, id: usize, feedback: Feedback) {
            let permit = self.permit(id);
            self.queue.finish(permit, feedback, Fate::Finished);
        }

        fn retry(&mut self, id: usize, feedback: Feedback, at: Instant, kept: char) {
            let host = self.queue.host_of[id];
            let permit = self.permit(id);
            self.queue.finish(permit, feedback, Fate::Retry { at, host, kept });
        }
    }

    #[test]
    fn downloads_start_in_list_order_and_a_full_host_delays_no_other() {
        let now = Instant::now();
        let mut run = Run::new(&[0, 0, 0, 1, 0, 1], 2);
        assert_eq!(run.start_all(now), [0, 1, 3, 5]);
        assert_eq!(run.wait(now), None);
        run.finish(1, Feedback::Unknown);
        assert_eq!(run.start_all(now), [2]);
        run.finish(3, Feedback::Unknown);
        assert_eq!(run.wait(now), None);
        [0, 2, 5].into_iter().for_each(|id| run.finish(id, Feedback::Unknown));
        assert_eq!(run.start_all(now), [4]);
        run.finish(4, Feedback::Unknown);
        assert!(run.is_done(now));
    }

    #[test]
    fn a_retry_waits_and_then_comes_first_with_what_was_kept() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut run = Run::new(&[0, 0, 0], 1);
        assert_eq!(run.start(now), Some((0, None)));
        run.retry(0, Feedback::Unknown, later, 'k');
        assert_eq!(run.start(now), Some((1, None)), "its permit is free meanwhile");
        assert_eq!(run.wait(now), Some(later));
        run.finish(1, Feedback::Unknown);
        assert_eq!(run.start(later), Some((0, Some('k'))));
        run.finish(0, Feedback::Unknown);
        assert_eq!(run.start(later), Some((2, None)));
        run.retry(2, Feedback::Unknown, later + Duration::from_secs(1), 'l');
        assert_eq!(run.wait(later), Some(later + Duration::from_secs(1)));
        run.queue.end_all_waits();
        assert_eq!(run.start(later), Some((2, Some('l'))));
    }

    #[test]
    fn a_retry_at_another_source_counts_against_that_sources_host() {
        let now = Instant::now();
        let mut run = Run::new(&[0, 0, 1, 1], 1);
        assert_eq!(run.start_all(now), [0, 2]);
        let permit = run.permit(0);
        run.queue.finish(permit, Feedback::Unknown, Fate::Retry { at: now, host: 1, kept: 'k' });
        assert_eq!(run.start_all(now), [1], "its first host is free, its second is not");
        run.finish(2, Feedback::Unknown);
        assert_eq!(run.start(now), Some((0, Some('k'))), "before those never started there");
        run.queue.hold_host_of(0, now + Duration::from_secs(1));
        run.finish(0, Feedback::Unknown);
        run.finish(1, Feedback::Unknown);
        assert_eq!(run.wait(now), Some(now + Duration::from_secs(1)), "its second host is held");
    }

    #[test]
    fn a_closed_queue_starts_nothing_new_and_still_retries() {
        let now = Instant::now();
        let mut run = Run::new(&[0, 1, 0, 1], 1);
        assert_eq!(run.start_all(now), [0, 1]);
        run.retry(1, Feedback::Unknown, now, 'k');
        assert_eq!(run.queue.close(), [2, 3]);
        assert_eq!(run.start(now), Some((1, Some('k'))));
        run.finish(1, Feedback::Unknown);
        run.finish(0, Feedback::Unknown);
        assert!(run.is_done(now));
    }

    #[test]
    fn nothing_starts_at_a_held_host_and_others_go_on() {
        let now = Instant::now();
        let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
        let mut run = Run::new(&[0, 1, 0, 1], 4);
        assert_eq!(run.start(now), Some((0, None)));
        run.queue.hold_host_of(0, later);
        run.queue.hold(0, soon);
        run.retry(0, Feedback::Unknown, now, 'k');
        assert_eq!(run.start_all(now), [1, 3]);
        assert_eq!(run.wait(now), Some(later));
        assert_eq!(run.wait(soon), Some(later), "the longer hold wins");
        assert_eq!(run.start_all(later), [0, 2]);
    }

    #[test]
    fn a_held_host_does_not_delay_the_end() {
        let now = Instant::now();
        let mut run = Run::new(&[0, 1], 4);
        assert_eq!(run.start_all(now), [0, 1]);
        run.queue.hold_host_of(0, now + Duration::from_secs(300));
        run.finish(0, Feedback::Unknown);
        assert!(run.wait(now).is_some());
        run.finish(1, Feedback::Unknown);
        assert!(run.is_done(now));
    }

    #[test]
    fn throttling_halves_the_permits_of_a_host_and_serving_raises_them() {
        let now = Instant::now();
        let mut run = Run::new(&[0; 20], 4);
        assert_eq!(run.start_all(now), [0, 1, 2, 3]);
        (0..4).for_each(|id| run.retry(id, Feedback::Throttled, now, 'k'));
        assert_eq!(run.start_all(now), [0, 1], "two at once, after one burst of throttling");
        (0..2).for_each(|id| run.finish(id, Feedback::Served));
        assert_eq!(run.start_all(now), [2, 3, 4], "and three after a round of responses");
    }

    #[test]
    fn a_segment_is_permitted_where_its_host_has_room() {
        let now = Instant::now();
        let mut run = Run::new(&[0, 0, 1], 3);
        assert_eq!(run.start_all(now), [0, 1, 2]);
        assert!(run.queue.has_permit_for_segment(0) && run.queue.has_permit_for_segment(2));
        let permit = run.queue.permit_segment(0);
        assert!(!run.queue.has_permit_for_segment(0) && !run.queue.has_permit_for_segment(1), "three are in flight");
        assert!(run.queue.has_permit_for_segment(2));
        run.queue.finish(permit, Feedback::Unknown, Fate::Segment);
        assert!(run.queue.has_permit_for_segment(1));
        run.finish(0, Feedback::Unknown);
        let permit = run.queue.permit_segment(1);
        run.finish(1, Feedback::Unknown);
        assert_eq!(run.wait(now), None);
        run.queue.finish(permit, Feedback::Unknown, Fate::Segment);
        run.finish(2, Feedback::Unknown);
        assert!(run.is_done(now));
    }

    #[test]
    fn a_waiting_download_keeps_a_thread_and_a_permit() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut run = Run::new(&[0, 0, 1, 1, 1], 2);
        assert_eq!(run.start_all(now), [0, 1, 2, 3]);
        run.retry(0, Feedback::Unknown, later, 'k');
        assert!(!run.queue.has_permit_for_segment(1), "the other permit is for the retry");
        assert_eq!(run.queue.reserved(), 1);
        run.queue.hold_host_of(2, later);
        assert!(!run.queue.has_permit_for_segment(2), "the host is held");
        assert_eq!(run.queue.reserved(), 2, "one download there was not started");
        assert_eq!(run.start(later), Some((0, Some('k'))));
        assert_eq!(run.queue.reserved(), 0);
    }

    #[test]
    fn a_download_goes_before_a_segment_and_a_throttled_segment_counts() {
        let now = Instant::now();
        let mut run = Run::new(&[0; 9], 4);
        assert_eq!(run.start(now), Some((0, None)));
        let permit = run.queue.permit_segment(0);
        assert_eq!(run.start_all(now), [1, 2], "the segment has the fourth permit");
        run.queue.finish(permit, Feedback::Throttled, Fate::Segment);
        assert!(!run.queue.has_permit_for_segment(0));
        run.finish(1, Feedback::Unknown);
        assert_eq!(run.wait(now), None, "two at once now");
        run.finish(2, Feedback::Unknown);
        assert_eq!(run.start(now), Some((3, None)));
        assert!(!run.queue.has_permit_for_segment(0));
    }

    #[test]
    fn an_empty_queue_is_done() {
        assert!(Run::new(&[], 1).is_done(Instant::now()));
    }

    proptest! {
        #[test]
        fn every_download_finishes_once_and_no_host_has_too_many_requests(
            host_of in proptest::collection::vec(0u32..5, 0..60),
            per_host in 1usize..4,
            choices in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let mut now = Instant::now();
            let mut queue = Queue::new(host_of.clone(), 5, per_host);
            let mut permits: Vec<Permit> = Vec::new();
            let mut finished = vec![0; host_of.len()];
            let mut choices = choices.into_iter().chain(std::iter::repeat(1));
            loop {
                match queue.next(now) {
                    Next::Start(permit, _) => permits.push(permit),
                    Next::Wait if permits.is_empty() => {
                        let next = queue.next_time();
                        prop_assert!(next.is_some(), "nothing would ever wake the threads");
                        now = next.unwrap_or(now);
                    }
                    Next::Wait => {
                        let choice = choices.next().unwrap_or(1);
                        let permit = permits.swap_remove(usize::from(choice) % permits.len());
                        if choice % 3 == 0 {
                            let (at, host) = (now + Duration::from_millis(choice.into()), u32::from(choice) % 5);
                            queue.finish(permit, Feedback::Unknown, Fate::Retry { at, host, kept: 'k' });
                        } else {
                            finished[permit.id()] += 1;
                            queue.finish(permit, Feedback::Unknown, Fate::Finished);
                        }
                    }
                    Next::Done => break,
                }
                for host in 0..5 {
                    prop_assert!(permits.iter().filter(|permit| permit.host == host).count() <= per_host);
                }
            }
            prop_assert!(permits.is_empty());
            prop_assert!(finished.iter().all(|times| *times == 1));
        }
    }
}
