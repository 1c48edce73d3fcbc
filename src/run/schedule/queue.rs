//! Decides what may start next. Plain data, without threads, clock or network; the pool guards it with a lock.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::host::Host;
use super::limiter::{Ticket, Wants};
use super::permit::{Fate, Feedback, Next, Permit, SegmentKind};
use super::waiting::Waiting;
use crate::http::TrafficSnapshot;

/// A download whose wait has been over for this long, and which still has no permit, is late.
const LATE: Duration = Duration::from_secs(1);

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
    /// Whether downloads may still be added.
    is_growing: bool,
    /// Hosts with requests in flight.
    active: BTreeSet<u32>,
    /// When waits have ended, and of which downloads, until that is [late](Self::take_late).
    ended_waits: VecDeque<(Instant, usize)>,
    /// The hosts that were held until a new time, or released early, since that was last [taken](Self::take_hold_changes).
    hold_changes: Vec<(u32, Option<Instant>)>,
    per_host: usize,
}

impl<T> Queue<T> {
    /// A queue of downloads 0, 1, 2 … `host_of` has the host of each, as a number below `hosts`.
    pub fn new(host_of: Vec<u32>, hosts: usize, per_host: usize) -> Self {
        let mut hosts: Vec<Host<T>> = (0..hosts).map(|_| Host::new()).collect();
        for (id, host) in (0..).zip(&host_of) {
            hosts[*host as usize].fresh.push_back(id);
        }
        let mut queue = Self {
            unfinished: host_of.len(),
            is_growing: false,
            hosts,
            host_of,
            ready: BTreeSet::new(),
            waiting: BinaryHeap::new(),
            holds: BinaryHeap::new(),
            active: BTreeSet::new(),
            ended_waits: VecDeque::new(),
            hold_changes: Vec::new(),
            per_host,
        };
        queue.host_numbers().for_each(|host| queue.update(host, |_| {}));
        queue
    }

    /// Allows downloads to be added, until [`end`](Self::end). Until then, the queue is not done.
    pub fn growing(self) -> Self {
        Self { is_growing: true, ..self }
    }

    /// Adds the next download. There are now so many hosts, and this is the one of its first source. Returns false if
    /// the queue has ended: then it is not added.
    pub fn add(&mut self, host: u32, hosts: usize) -> bool {
        if !self.is_growing {
            return false;
        }
        // A list of more downloads than that has no place in memory.
        let id = u32::try_from(self.host_of.len()).unwrap_or(u32::MAX);
        self.hosts.resize_with(hosts.max(self.hosts.len()), Host::new);
        self.host_of.push(host);
        self.unfinished += 1;
        self.update(host, |host| host.fresh.push_back(id));
        true
    }

    /// Nothing will be added from now on.
    pub const fn end(&mut self) {
        self.is_growing = false;
    }

    pub const fn is_growing(&self) -> bool {
        self.is_growing
    }

    /// How many downloads there have been.
    pub const fn len(&self) -> usize {
        self.host_of.len()
    }

    #[cfg(test)]
    pub fn set_limiter(&mut self, host: usize, limiter: super::limiter::Limiter) {
        self.hosts[host].limiter = Some(Box::new(limiter));
        self.update(host as u32, |_| {});
    }

    /// The next download to start. Each host offers its retries before its other downloads, and the host whose offer is
    /// first in list order goes first.
    pub fn next(&mut self, now: Instant) -> Next<T> {
        if self.unfinished == 0 && !self.is_growing {
            return Next::Done;
        }
        self.end_waits_until(now);
        let Some((_, number)) = self.ready.first().copied() else {
            return Next::Wait;
        };
        let ticket = self.start_request(number, now);
        let start = self.update(number, |host| match host.due.pop_front() {
            Some((id, kept)) => Some((id, Some(kept))),
            None => host.fresh.pop_front().map(|id| (id as usize, None)),
        });
        match start {
            Some((id, kept)) => Next::Start(Permit { id, host: number, ticket }, kept),
            // Unreachable: a host is ready only if it has something to start.
            None => Next::Done,
        }
    }

    /// Whether a segment of a running download may be requested: its host has a permit to spare after reserving one for
    /// each of its waiting downloads. If not, the host's limiter is told that one was wanted; the download will take
    /// `time_left` without it. If that is the maximum, no connection brings those bytes: asking for them adds no load.
    pub fn permits_segment(&mut self, id: usize, time_left: Duration) -> Option<SegmentKind> {
        let number = self.host_of[id];
        let per_host = self.per_host;
        let host = &mut self.hosts[number as usize];
        let in_flight = host.in_flight;
        let limiter = host.limiter(per_host);
        let (proven, brings_load) = (limiter.segment_limit(), time_left < Duration::MAX);
        let limit = if brings_load { proven } else { proven.max(limiter.limit()) };
        let is_trial = limiter.is_trial(in_flight);
        if host.held_until.is_none() && in_flight + host.waiting < limit {
            return Some(if is_trial { SegmentKind::Trial } else { SegmentKind::Proven });
        }
        host.wants_segment = host.wants_segment.max(Some(time_left));
        None
    }

    /// A permit for a segment of a running download.
    pub fn permit_segment(&mut self, id: usize, now: Instant) -> Permit {
        let host = self.host_of[id];
        let ticket = self.start_request(host, now);
        Permit { id, host, ticket }
    }

    fn start_request(&mut self, number: u32, now: Instant) -> Ticket {
        self.active.insert(number);
        let per_host = self.per_host;
        self.update(number, |host| {
            host.in_flight += 1;
            host.limiter(per_host).start(now)
        })
    }

    /// Takes a permit back. Returns whether its host may have more requests in flight now than before.
    #[expect(clippy::needless_pass_by_value, reason = "a permit that was returned cannot be used again")]
    pub fn finish(&mut self, permit: Permit, now: Instant, feedback: Feedback, fate: Fate<T>) -> bool {
        let Permit { id, host: number, ticket } = permit;
        let per_host = self.per_host;
        let download = (!matches!(fate, Fate::Segment)).then_some(id);
        let (has_grown, has_ended_hold, is_idle) = self.update(number, |host| {
            let (in_flight, wants_downloads) = (host.in_flight, host.first().is_some());
            let limiter = host.limiter(per_host);
            let before = limiter.limit();
            match feedback {
                Feedback::Served(served) => limiter.served(now, ticket, id, served, wants_downloads),
                Feedback::Refused => limiter.refused(now, ticket, download, in_flight),
                Feedback::Unknown => limiter.ended(ticket),
            }
            let has_grown = limiter.limit() > before;
            let has_ended_hold = matches!(feedback, Feedback::Served(_)) && host.end_hold_for_load();
            host.in_flight -= 1;
            (has_grown || has_ended_hold, has_ended_hold, host.in_flight == 0)
        });
        if has_ended_hold {
            self.hold_changes.push((number, None));
        }
        if is_idle {
            self.active.remove(&number);
        }
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

    /// Tells the limiters that time has passed. `traffic` says what has arrived from a host. Returns whether a host may have more requests in flight now than before.
    pub fn tick(&mut self, now: Instant, traffic: impl Fn(u32) -> TrafficSnapshot) -> bool {
        let mut has_grown = false;
        let per_host = self.per_host;
        for number in self.active.iter().copied().collect::<Vec<_>>() {
            has_grown |= self.update(number, |host| {
                let (in_flight, wants_segment) = (host.in_flight, host.wants_segment.take());
                let wants = match wants_segment {
                    _ if host.first().is_some() => Wants::Downloads,
                    Some(time_left) => Wants::Segments(time_left),
                    None => Wants::Nothing,
                };
                let limiter = host.limiter(per_host);
                let before = (limiter.limit(), limiter.segment_limit());
                limiter.tick(now, traffic(number), in_flight, wants);
                limiter.limit() > before.0 || limiter.segment_limit() > before.1
            });
        }
        has_grown
    }

    /// How many threads to reserve for waiting downloads.
    pub fn reserved(&self) -> usize {
        let held = self.hosts.iter().filter(|host| host.held_until.is_some());
        let startable = held.map(|host| (host.fresh.len() + host.due.len()).min(host.limit(self.per_host)));
        self.waiting.len() + startable.sum::<usize>()
    }

    /// Holds a host: nothing starts there before `until`, whatever it serves meanwhile.
    pub fn hold(&mut self, number: u32, until: Instant) {
        self.hosts[number as usize].is_held_for_load = false;
        if self.hosts[number as usize].held_until.is_none_or(|earlier| earlier < until) {
            self.holds.push(Reverse((until, number)));
            self.hold_changes.push((number, Some(until)));
            self.update(number, |host| host.held_until = Some(until));
        }
    }

    /// A request for the download `id` was refused until then. That holds its host as well if the same was said of
    /// another download and nothing was served since; and only until something is.
    pub fn hold_for_load(&mut self, number: u32, id: usize, until: Instant) {
        match self.hosts[number as usize].told_to_wait {
            Some((first, before)) if first != id => {
                if self.hosts[number as usize].held_until.is_none() {
                    self.hold(number, until.max(before));
                    self.hosts[number as usize].is_held_for_load = true;
                }
            }
            _ => self.hosts[number as usize].told_to_wait = Some((id, until)),
        }
    }

    /// The hosts that were held since the last call, with the time, and those that were released early.
    pub fn take_hold_changes(&mut self) -> Vec<(u32, Option<Instant>)> {
        std::mem::take(&mut self.hold_changes)
    }

    /// Until when nothing may start at a host.
    pub fn held_until(&self, number: u32) -> Option<Instant> {
        self.hosts[number as usize].held_until
    }

    /// The downloads whose waits have been over for a second, but which have not started for want of a permit. Each is
    /// returned once for a wait.
    pub fn take_late(&mut self, now: Instant) -> Vec<usize> {
        let mut late = Vec::new();
        while let Some((_, id)) = self.ended_waits.front().copied().filter(|(ended, _)| *ended + LATE <= now) {
            self.ended_waits.pop_front();
            let host = &self.hosts[self.host_of[id] as usize];
            if host.due.iter().any(|(due, _)| *due == id) {
                late.push(id);
            }
        }
        late
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

    /// Removes the downloads that were not started, and returns them in list order. None can be added from now on. Those
    /// that wait are still retried.
    pub fn close(&mut self) -> Vec<usize> {
        self.end();
        let mut removed = Vec::new();
        for number in self.host_numbers() {
            self.update(number, |host| removed.extend(host.fresh.drain(..).map(|id| id as usize)));
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
            if let Some(Reverse(Waiting { until, id, kept })) = self.waiting.pop() {
                self.ended_waits.push_back((until, id));
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
        let per_host = self.per_host;
        let host = &mut self.hosts[number as usize];
        let before = host.first();
        let result = change(host);
        let now = host.first().filter(|_| host.has_room(per_host));
        if let Some(id) = before {
            self.ready.remove(&(id, number));
        }
        if let Some(id) = now {
            self.ready.insert((id, number));
        }
        result
    }
}

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
            self.queue.finish(permit, Instant::now(), feedback, Fate::Finished);
        }

        /// Makes it known that so many requests at once bring the most bytes.
        fn prove(&mut self, host: usize, width: usize) {
            let per_host = self.queue.per_host;
            self.queue.hosts[host].limiter(per_host).prove(width);
        }

        fn permits_segment(&mut self, id: usize) -> bool {
            self.queue.permits_segment(id, Duration::from_secs(9)).is_some()
        }

        fn retry(&mut self, id: usize, feedback: Feedback, at: Instant, kept: char) {
            let host = self.queue.host_of[id];
            let permit = self.permit(id);
            self.queue.finish(permit, Instant::now(), feedback, Fate::Retry { at, host, kept });
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
    fn a_retry_that_has_no_permit_is_late_once() {
        let now = Instant::now();
        let due = now + Duration::from_secs(1);
        let mut run = Run::new(&[0, 0], 1);
        assert_eq!(run.start(now), Some((0, None)));
        run.retry(0, Feedback::Unknown, due, 'k');
        assert_eq!(run.start(now), Some((1, None)));
        run.queue.end_waits_until(due);
        assert_eq!(run.queue.take_late(due + LATE - Duration::from_millis(1)), [0; 0]);
        assert_eq!(run.queue.take_late(due + LATE), [0]);
        assert_eq!(run.queue.take_late(due + LATE * 2), [0; 0]);
        run.finish(1, Feedback::Unknown);
        assert_eq!(run.start(due), Some((0, Some('k'))));
        run.retry(0, Feedback::Unknown, due, 'l');
        assert_eq!(run.start(due), Some((0, Some('l'))), "it has started in time");
        assert_eq!(run.queue.take_late(due + LATE), [0; 0]);
    }

    #[test]
    fn a_retry_at_another_source_counts_against_that_sources_host() {
        let now = Instant::now();
        let mut run = Run::new(&[0, 0, 1, 1], 1);
        assert_eq!(run.start_all(now), [0, 2]);
        let permit = run.permit(0);
        run.queue.finish(permit, now, Feedback::Unknown, Fate::Retry { at: now, host: 1, kept: 'k' });
        assert_eq!(run.start_all(now), [1], "its first host is free, its second is not");
        run.finish(2, Feedback::Unknown);
        assert_eq!(run.start(now), Some((0, Some('k'))), "before those never started there");
        run.queue.hold(1, now + Duration::from_secs(1));
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
    fn a_growing_queue_is_done_only_after_its_end() {
        let now = Instant::now();
        let mut run = Run::new(&[0], 1);
        run.queue = run.queue.growing();
        assert_eq!(run.start_all(now), [0]);
        run.finish(0, Feedback::Unknown);
        assert_eq!(run.wait(now), None, "more may come");
        assert!(run.queue.add(2, 3) && run.queue.add(0, 3) && run.queue.add(2, 3));
        assert_eq!((run.start_all(now), run.queue.len()), (vec![1, 2], 4));
        run.queue.end();
        assert!(!run.queue.add(0, 3), "it has ended");
        run.finish(1, Feedback::Unknown);
        assert_eq!(run.start_all(now), [3]);
        [2, 3].into_iter().for_each(|id| run.finish(id, Feedback::Unknown));
        assert!(run.is_done(now));
    }

    #[test]
    fn nothing_is_added_to_a_closed_queue() {
        let now = Instant::now();
        let mut run = Run::new(&[0], 1);
        run.queue = run.queue.growing();
        assert!(run.queue.add(0, 1));
        assert_eq!(run.queue.close(), [0, 1]);
        assert!(!run.queue.add(0, 1) && !run.queue.is_growing());
        assert!(run.is_done(now));
    }

    #[test]
    fn an_empty_queue_that_grows_waits() {
        let now = Instant::now();
        let mut queue: Queue<char> = Queue::new(Vec::new(), 0, 4).growing();
        assert!(matches!(queue.next(now), Next::Wait) && queue.next_time().is_none() && !queue.is_ready());
        assert!(queue.add(0, 1) && queue.is_ready());
        assert!(matches!(queue.next(now), Next::Start(..)));
    }

    #[test]
    fn nothing_starts_at_a_held_host_and_others_go_on() {
        let now = Instant::now();
        let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
        let mut run = Run::new(&[0, 1, 0, 1], 4);
        assert_eq!(run.start(now), Some((0, None)));
        run.queue.hold(0, later);
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
        run.queue.hold(0, now + Duration::from_secs(300));
        run.finish(0, Feedback::Unknown);
        assert!(run.wait(now).is_some());
        run.finish(1, Feedback::Unknown);
        assert!(run.is_done(now));
    }

    #[test]
    fn a_host_gets_as_many_requests_as_it_did_not_refuse() {
        let now = Instant::now();
        let mut run = Run::new(&[0; 20], 4);
        assert_eq!(run.start_all(now), [0, 1, 2, 3]);
        run.retry(0, Feedback::Refused, now, 'k');
        assert_eq!(run.start_all(now), [0], "one URL may be sick");
        (1..3).for_each(|id| run.retry(id, Feedback::Refused, now, 'k'));
        assert!(run.start_all(now).is_empty(), "0 and 3 are in flight");
        run.finish(3, Feedback::Served(None));
        assert!(run.start_all(now).is_empty(), "one at once now");
        run.finish(0, Feedback::Served(None));
        assert_eq!(run.start_all(now), [1]);
    }

    #[test]
    fn a_host_that_asks_for_a_hold_is_not_released_by_what_it_serves() {
        let now = Instant::now();
        let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(9));
        let mut run = Run::new(&[0; 4], 3);
        assert_eq!(run.start_all(now), [0, 1, 2]);
        run.queue.hold_for_load(0, 0, later);
        run.queue.hold_for_load(0, 1, later);
        // That is shorter, but it is about the host.
        run.queue.hold(0, soon);
        run.finish(2, Feedback::Served(None));
        assert_eq!(run.start_all(now), [0; 0]);
    }

    #[test]
    fn a_host_is_held_for_load_once_two_downloads_were_told_to_wait_and_until_one_is_served() {
        let now = Instant::now();
        let soon = now + Duration::from_secs(1);
        let later = now + Duration::from_secs(9);
        let mut run = Run::new(&[0; 9], 4);
        assert_eq!(run.start_all(now), [0, 1, 2, 3]);
        run.queue.hold_for_load(0, 0, later);
        run.retry(0, Feedback::Refused, later, 'k');
        assert_eq!(run.start_all(now), [4], "the first only waits itself");
        run.queue.hold_for_load(0, 0, later);
        assert!(run.queue.next_time() == Some(later) && run.queue.hosts[0].held_until.is_none());
        run.queue.hold_for_load(0, 1, soon);
        run.retry(1, Feedback::Refused, soon, 'k');
        assert_eq!(run.wait(now), Some(soon));
        assert_eq!(run.queue.hosts[0].held_until, Some(later), "the longer wait");
        run.finish(2, Feedback::Served(None));
        run.finish(3, Feedback::Unknown);
        assert_eq!(run.start_all(now), [5], "the host serves others");
        run.queue.hold_for_load(0, 4, soon);
        assert!(run.queue.hosts[0].held_until.is_none(), "that was before");
    }

    #[test]
    fn a_segment_is_permitted_where_its_host_has_room() {
        let now = Instant::now();
        let mut run = Run::new(&[0, 0, 1], 3);
        assert_eq!(run.start_all(now), [0, 1, 2]);
        assert!(!run.permits_segment(0), "nothing shows that it would pay");
        assert_eq!(run.queue.hosts[0].wants_segment, Some(Duration::from_secs(9)));
        (0..2).for_each(|host| run.prove(host, 3));
        assert!(run.permits_segment(0) && run.permits_segment(2));
        let permit = run.queue.permit_segment(0, now);
        assert!(!run.permits_segment(0) && !run.permits_segment(1), "three are in flight");
        assert!(run.permits_segment(2));
        run.queue.finish(permit, now, Feedback::Unknown, Fate::Segment);
        assert!(run.permits_segment(1));
        run.finish(0, Feedback::Unknown);
        let permit = run.queue.permit_segment(1, now);
        run.finish(1, Feedback::Unknown);
        assert_eq!(run.wait(now), None);
        run.queue.finish(permit, now, Feedback::Unknown, Fate::Segment);
        run.finish(2, Feedback::Unknown);
        assert!(run.is_done(now));
    }

    #[test]
    fn a_waiting_download_keeps_a_thread_and_a_permit() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut run = Run::new(&[0, 0, 1, 1, 1], 2);
        assert_eq!(run.start_all(now), [0, 1, 2, 3]);
        (0..2).for_each(|host| run.prove(host, 2));
        run.retry(0, Feedback::Unknown, later, 'k');
        assert!(!run.permits_segment(1), "the other permit is for the retry");
        assert_eq!(run.queue.reserved(), 1);
        run.queue.hold(1, later);
        assert!(!run.permits_segment(2), "the host is held");
        assert_eq!(run.queue.reserved(), 2, "one download there was not started");
        assert_eq!(run.start(later), Some((0, Some('k'))));
        assert_eq!(run.queue.reserved(), 0);
    }

    #[test]
    fn a_download_goes_before_a_segment_and_a_refused_segment_counts() {
        let now = Instant::now();
        let mut run = Run::new(&[0; 9], 4);
        assert_eq!(run.start(now), Some((0, None)));
        run.prove(0, 4);
        let permit = run.queue.permit_segment(0, now);
        assert_eq!(run.start_all(now), [1, 2], "the segment has the fourth permit");
        run.queue.finish(permit, now, Feedback::Refused, Fate::Segment);
        run.retry(1, Feedback::Refused, now + Duration::from_secs(1), 'k');
        assert!(!run.permits_segment(0));
        assert_eq!(run.wait(now), Some(now + Duration::from_secs(1)), "two at once now");
        run.finish(2, Feedback::Unknown);
        assert_eq!(run.start(now), Some((3, None)));
        assert!(!run.permits_segment(0));
    }

    #[test]
    fn an_empty_queue_is_done() {
        assert!(Run::new(&[], 1).is_done(Instant::now()));
    }

    proptest! {
        #[test]
        fn every_download_finishes_once_and_no_host_has_too_many_requests(
            host_of in proptest::collection::vec(0u32..5, 0..60),
            known in 0usize..60,
            per_host in 1usize..4,
            choices in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let mut now = Instant::now();
            let (first, later) = host_of.split_at(known.min(host_of.len()));
            let mut queue = Queue::new(first.to_vec(), 5, per_host).growing();
            let mut later = later.iter();
            let mut permits: Vec<Permit> = Vec::new();
            let mut finished = vec![0; host_of.len()];
            let mut choices = choices.into_iter().chain(std::iter::repeat(1));
            loop {
                match queue.next(now) {
                    Next::Start(permit, _) => permits.push(permit),
                    Next::Wait if queue.is_growing() && choices.next().is_some_and(|choice| choice % 2 == 1) => {
                        match later.next() {
                            Some(host) => prop_assert!(queue.add(*host, 5)),
                            None => queue.end(),
                        }
                    }
                    Next::Wait if permits.is_empty() && queue.is_growing() && queue.next_time().is_none() => {}
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
                            queue.finish(permit, now, Feedback::Unknown, Fate::Retry { at, host, kept: 'k' });
                        } else {
                            finished[permit.id()] += 1;
                            queue.finish(permit, now, Feedback::Unknown, Fate::Finished);
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
