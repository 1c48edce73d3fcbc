//! What may start next. A value that can be asked, without threads, clock or network: the engine puts it behind its
//! one lock.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::time::Instant;

use super::pace::{Era, Pace};

/// The downloads of a run that are to be started, each known by its number in the plan. `T` is what a download keeps
/// while it waits for its next attempt.
#[derive(Debug)]
pub struct Queue<T> {
    hosts: Vec<Host<T>>,
    /// The host of each download.
    host_of: Vec<u32>,
    /// Hosts from which something may start now, by the number of the download that is first there.
    ready: BTreeSet<(usize, u32)>,
    /// Downloads that wait for a time of their own.
    waiting: BinaryHeap<Reverse<Waiting<T>>>,
    /// When each host that is held back may be asked again.
    held: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Started, neither ended nor put back, with the era of their host's pace in which they began.
    running: HashMap<usize, Era>,
    /// How many have not ended.
    left: usize,
}

#[derive(Debug)]
struct Host<T> {
    fresh: VecDeque<usize>,
    /// Those whose wait is over.
    again: VecDeque<(usize, T)>,
    /// How many wait for a time of their own.
    waiting: usize,
    /// Requests in flight.
    running: usize,
    pace: Pace,
    held_until: Option<Instant>,
}

#[derive(Debug)]
struct Waiting<T> {
    until: Instant,
    id: usize,
    kept: T,
}

/// What a thread that asks for work should do.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// Start this download, or go on with it where something was kept for it.
    Start(usize, Option<T>),
    /// Nothing may start before this time, or before another download ends or is put back.
    Wait(Option<Instant>),
    /// Nothing is left.
    Done,
}

impl<T> Queue<T> {
    /// A queue of downloads 0, 1, 2 … where `host_of` tells the host of each, as a small number.
    #[must_use]
    pub fn new(host_of: Vec<u32>, per_host: usize) -> Self {
        let count = host_of.iter().max().map_or(0, |most| most + 1);
        let mut hosts: Vec<Host<T>> = (0..count).map(|_| Host::new(per_host)).collect();
        for (id, host) in host_of.iter().enumerate() {
            hosts[*host as usize].fresh.push_back(id);
        }
        let mut queue = Self {
            hosts,
            left: host_of.len(),
            host_of,
            ready: BTreeSet::new(),
            waiting: BinaryHeap::new(),
            held: BinaryHeap::new(),
            running: HashMap::new(),
        };
        (0..count).for_each(|host| queue.change(host, |_| {}));
        queue
    }

    /// The first download in list order whose host has room, those that were put back before those that never began.
    pub fn next(&mut self, now: Instant) -> Next<T> {
        if self.left == 0 {
            return Next::Done;
        }
        self.end_waits_until(now);
        let Some((_, host)) = self.ready.first().copied() else {
            return Next::Wait(self.next_time());
        };
        let start = self.change(host, |queue| {
            queue.running += 1;
            match queue.again.pop_front() {
                Some((id, kept)) => Some((id, Some(kept))),
                None => queue.fresh.pop_front().map(|id| (id, None)),
            }
        });
        // A host is ready only with something to start.
        let Some((id, kept)) = start else {
            return Next::Done;
        };
        self.running.insert(id, self.hosts[host as usize].pace.era());
        Next::Start(id, kept)
    }

    /// A started download has ended.
    pub fn end(&mut self, id: usize) {
        self.left -= 1;
        self.stop(id);
    }

    fn stop(&mut self, id: usize) {
        self.running.remove(&id);
        self.change(self.host_of[id], |host| host.running -= 1);
    }

    /// A started download is to be tried again, not before `until`.
    pub fn put_back(&mut self, id: usize, until: Instant, kept: T) {
        self.waiting.push(Reverse(Waiting { until, id, kept }));
        self.hosts[self.host_of[id] as usize].waiting += 1;
        self.stop(id);
    }

    /// Whether another request may be made for a part of a started download: its host has room for that and for
    /// everything there that waits for its next attempt.
    pub fn may_help(&self, id: usize) -> bool {
        let host = &self.hosts[self.host_of[id] as usize];
        host.held_until.is_none() && host.running + host.waiting < host.pace.limit()
    }

    /// How many threads are to be left for what waits for a time.
    pub fn reserved(&self) -> usize {
        let held = self.hosts.iter().filter(|host| host.held_until.is_some());
        self.waiting.len()
            + held.map(|host| (host.fresh.len() + host.again.len()).min(host.pace.limit())).sum::<usize>()
    }

    /// A request for a part of a started download begins.
    pub fn help(&mut self, id: usize) -> Era {
        self.change(self.host_of[id], |host| {
            host.running += 1;
            host.pace.era()
        })
    }

    /// A request for a part of a download, which may have ended meanwhile, has ended.
    pub fn end_help(&mut self, id: usize) {
        self.change(self.host_of[id], |host| host.running -= 1);
    }

    /// The host of a download refused a request for a part of it, for want of strength.
    pub fn help_refused(&mut self, id: usize, era: Era) {
        self.change(self.host_of[id], |host| host.pace.refused(host.running, era));
    }

    /// The host of a started download answered it as it should. Says whether more may be in flight there now.
    pub fn answered(&mut self, id: usize) -> bool {
        self.change(self.host_of[id], |host| host.pace.answered())
    }

    /// The host of a started download refused it, for want of strength.
    pub fn refused(&mut self, id: usize) {
        if let Some(era) = self.running.get(&id).copied() {
            self.help_refused(id, era);
        }
    }

    /// Asks nothing of the host of a download before `until`.
    pub fn hold_host_of(&mut self, id: usize, until: Instant) {
        self.hold(self.host_of[id], until);
    }

    /// Asks nothing of a host before `until`.
    pub fn hold(&mut self, host: u32, until: Instant) {
        if self.hosts[host as usize].held_until.is_none_or(|earlier| earlier < until) {
            self.held.push(Reverse((until, host)));
            self.change(host, |host| host.held_until = Some(until));
        }
    }

    /// Whether something may start now.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When the next wait is over.
    pub fn next_time(&self) -> Option<Instant> {
        let waits = self.waiting.peek().map(|Reverse(waiting)| waiting.until);
        let holds = self.held.peek().map(|Reverse((until, _))| *until);
        waits.into_iter().chain(holds).min()
    }

    /// Ends the waits whose time has come.
    pub fn end_waits_until(&mut self, now: Instant) {
        self.end_waits(|until| until <= now);
    }

    /// Starts nothing new from now on: what never began is handed out, in list order; what was put back still is tried.
    pub fn close(&mut self) -> Vec<usize> {
        let mut left = Vec::new();
        for host in 0..self.hosts.len() {
            if let Ok(host) = u32::try_from(host) {
                self.change(host, |queue| left.extend(queue.fresh.drain(..)));
            }
        }
        left.sort_unstable();
        self.left -= left.len();
        left
    }

    /// Ends every wait, so that what was put back may start at once.
    pub fn end_all_waits(&mut self) {
        self.end_waits(|_| true);
    }

    fn end_waits(&mut self, is_over: impl Fn(Instant) -> bool) {
        while self.held.peek().is_some_and(|Reverse((until, _))| is_over(*until)) {
            if let Some(Reverse((until, host))) = self.held.pop() {
                // A longer hold may have come since.
                self.change(host, |queue| {
                    queue.held_until = queue.held_until.filter(|held| *held > until);
                });
            }
        }
        while self.waiting.peek().is_some_and(|Reverse(waiting)| is_over(waiting.until)) {
            if let Some(Reverse(over)) = self.waiting.pop() {
                let host = self.host_of[over.id];
                self.change(host, |host| {
                    host.waiting -= 1;
                    host.again.push_back((over.id, over.kept));
                });
            }
        }
    }

    /// Changes a host, and keeps `ready` true.
    fn change<R>(&mut self, number: u32, change: impl FnOnce(&mut Host<T>) -> R) -> R {
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
        let most = if per_host == 0 { 1 } else { per_host };
        Self {
            fresh: VecDeque::new(),
            again: VecDeque::new(),
            waiting: 0,
            running: 0,
            pace: Pace::new(most),
            held_until: None,
        }
    }

    /// The download that would start next here.
    fn first(&self) -> Option<usize> {
        self.again.front().map(|(id, _)| *id).or_else(|| self.fresh.front().copied())
    }

    const fn has_room(&self) -> bool {
        self.held_until.is_none() && self.running < self.pace.limit()
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

    /// The downloads that can be started at once.
    fn started(queue: &mut Queue<char>, now: Instant) -> Vec<usize> {
        std::iter::from_fn(|| match queue.next(now) {
            Next::Start(id, _) => Some(id),
            _ => None,
        })
        .collect()
    }

    #[test]
    fn list_order_holds_and_a_full_host_holds_up_no_other() {
        let now = Instant::now();
        let mut queue = Queue::new(vec![0, 0, 0, 1, 0, 1], 2);
        assert_eq!(started(&mut queue, now), [0, 1, 3, 5]);
        assert_eq!(queue.next(now), Next::Wait(None));
        queue.end(1);
        assert_eq!(started(&mut queue, now), [2]);
        queue.end(3);
        assert_eq!(queue.next(now), Next::Wait(None));
        for id in [0, 2, 5] {
            queue.end(id);
        }
        assert_eq!(started(&mut queue, now), [4]);
        queue.end(4);
        assert_eq!(queue.next(now), Next::Done);
    }

    #[test]
    fn what_is_put_back_waits_and_then_comes_first_with_what_was_kept() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut queue = Queue::new(vec![0, 0, 0], 1);
        assert_eq!(queue.next(now), Next::Start(0, None));
        queue.put_back(0, later, 'k');
        assert_eq!(queue.next(now), Next::Start(1, None), "its place is free meanwhile");
        assert_eq!(queue.next(now), Next::Wait(Some(later)));
        queue.end(1);
        assert_eq!(queue.next(later), Next::Start(0, Some('k')));
        queue.end(0);
        assert_eq!(queue.next(later), Next::Start(2, None));
        queue.put_back(2, later + Duration::from_secs(1), 'l');
        assert_eq!(queue.next(later), Next::Wait(Some(later + Duration::from_secs(1))));
        queue.end_all_waits();
        assert_eq!(queue.next(later), Next::Start(2, Some('l')));
    }

    #[test]
    fn a_closed_queue_starts_nothing_new_and_finishes_what_it_began() {
        let now = Instant::now();
        let mut queue = Queue::new(vec![0, 1, 0, 1], 1);
        assert_eq!(started(&mut queue, now), [0, 1]);
        queue.put_back(1, now, 'k');
        assert_eq!(queue.close(), [2, 3]);
        assert_eq!(queue.next(now), Next::Start(1, Some('k')));
        queue.end(1);
        queue.end(0);
        assert_eq!(queue.next(now), Next::Done);
    }

    #[test]
    fn a_host_that_is_held_back_is_left_alone_and_no_other() {
        let now = Instant::now();
        let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
        let mut queue = Queue::new(vec![0, 1, 0, 1], 4);
        assert_eq!(queue.next(now), Next::Start(0, None));
        queue.hold_host_of(0, later);
        queue.hold(0, soon);
        queue.put_back(0, now, 'k');
        assert_eq!(started(&mut queue, now), [1, 3]);
        assert_eq!(queue.next(now), Next::Wait(Some(later)));
        assert_eq!(queue.next(soon), Next::Wait(Some(later)), "the longer hold counts");
        assert_eq!(started(&mut queue, later), [0, 2]);
    }

    #[test]
    fn a_host_that_is_held_back_holds_up_no_end() {
        let now = Instant::now();
        let mut queue = Queue::<char>::new(vec![0, 1], 4);
        assert_eq!(started(&mut queue, now), [0, 1]);
        queue.hold_host_of(0, now + Duration::from_secs(300));
        queue.end(0);
        assert!(matches!(queue.next(now), Next::Wait(_)));
        queue.end(1);
        assert_eq!(queue.next(now), Next::Done);
    }

    #[test]
    fn a_refusal_halves_what_may_be_in_flight_and_answers_raise_it() {
        let now = Instant::now();
        let mut queue = Queue::new(vec![0; 20], 4);
        assert_eq!(started(&mut queue, now), [0, 1, 2, 3]);
        for id in 0..4 {
            queue.refused(id);
            queue.put_back(id, now, 'k');
        }
        assert_eq!(started(&mut queue, now), [0, 1], "two at once, after one burst of refusals");
        for id in 0..2 {
            queue.answered(id);
            queue.end(id);
        }
        assert_eq!(started(&mut queue, now), [2, 3, 4], "and three after a round of answers");
    }

    #[test]
    fn a_part_is_asked_for_where_its_host_has_room() {
        let now = Instant::now();
        let mut queue = Queue::new(vec![0, 0, 1], 3);
        assert_eq!(started(&mut queue, now), [0, 1, 2]);
        assert!(queue.may_help(0) && queue.may_help(2));
        queue.help(0);
        assert!(!queue.may_help(0) && !queue.may_help(1) && queue.may_help(2), "three are in flight there");
        queue.end_help(0);
        assert!(queue.may_help(1));
        queue.end(0);
        queue.help(1);
        queue.end(1);
        assert_eq!(queue.next(now), Next::Wait(None));
        queue.end_help(1);
        queue.end(2);
        assert_eq!(queue.next(now), Next::Done);
    }

    #[test]
    fn what_waits_finds_a_thread_and_a_place_at_its_host() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut queue = Queue::new(vec![0, 0, 1, 1, 1], 2);
        assert_eq!(started(&mut queue, now), [0, 1, 2, 3]);
        queue.put_back(0, later, 'k');
        assert!(!queue.may_help(1), "the other place is for what waits");
        assert_eq!(queue.reserved(), 1);
        queue.hold_host_of(2, later);
        assert!(!queue.may_help(2), "nothing is asked of it at all");
        assert_eq!(queue.reserved(), 2, "one has not begun there");
        assert_eq!(queue.next(later), Next::Start(0, Some('k')));
        assert_eq!(queue.reserved(), 0);
    }

    #[test]
    fn a_start_goes_before_help_and_a_refused_part_counts_as_a_refusal() {
        let now = Instant::now();
        let mut queue = Queue::new(vec![0; 9], 4);
        assert_eq!(queue.next(now), Next::Start(0, None));
        let era = queue.help(0);
        assert_eq!(started(&mut queue, now), [1, 2], "the part has the fourth place");
        queue.help_refused(0, era);
        queue.end_help(0);
        assert!(!queue.may_help(0));
        queue.end(1);
        assert_eq!(queue.next(now), Next::Wait(None), "two at once now");
        queue.end(2);
        assert_eq!(queue.next(now), Next::Start(3, None));
        assert!(!queue.may_help(0));
    }

    #[test]
    fn an_empty_queue_is_done() {
        assert_eq!(Queue::<char>::new(vec![], 1).next(Instant::now()), Next::Done);
    }

    proptest! {
        #[test]
        fn every_download_ends_once_and_no_host_has_too_many(hosts in proptest::collection::vec(0u32..5, 0..60), per_host in 1usize..4, choices in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut now = Instant::now();
            let mut queue = Queue::new(hosts.clone(), per_host);
            let mut running: Vec<usize> = Vec::new();
            let mut ended = vec![0; hosts.len()];
            let mut choices = choices.into_iter().chain(std::iter::repeat(1));
            loop {
                match queue.next(now) {
                    Next::Start(id, _) => running.push(id),
                    Next::Wait(Some(until)) if running.is_empty() => now = until,
                    Next::Wait(_) => {
                        prop_assert!(!running.is_empty(), "nothing would ever wake the threads");
                        let choice = usize::from(choices.next().unwrap_or(1));
                        let id = running.swap_remove(choice % running.len());
                        if choice % 3 == 0 {
                            queue.put_back(id, now + Duration::from_millis(choice as u64), 'k');
                        } else {
                            queue.end(id);
                            ended[id] += 1;
                        }
                    }
                    Next::Done => break,
                }
                for host in 0..5 {
                    prop_assert!(running.iter().filter(|id| hosts[**id] == host).count() <= per_host);
                }
            }
            prop_assert!(running.is_empty());
            prop_assert!(ended.iter().all(|times| *times == 1));
        }
    }
}
