//! What a host's refusals say about how many requests it takes: an upper bound, where there is one.
//!
//! - One URL that is refused says nothing: it may be sick. A refusal counts once a second URL is refused before a request
//!   that started after the first refusal is served. A URL that is refused again does not
//!   count, unless the host refuses at that number anyway.
//! - The refusals of one burst say that the host takes as many requests as it did not refuse. That is tested at once, with
//!   one more request: if that is not refused, the burst was of sick URLs, and the bound is lifted in a few steps. A URL
//!   of the burst that is refused again while others are served was sick, too.
//! - Below the bound, requests are added quickly. The bound itself is tried only after several rounds, and twice as many
//!   after each confirmation: such a try costs a refusal.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Rounds before a confirmed bound is tried for the first time.
const FIRST_PROBE_INTERVAL: u32 = 4;

/// The longest interval. A host that refused once may have recovered long ago.
const MAX_PROBE_INTERVAL: u32 = 256;

/// After this time without a refusal that counts, the bound is no longer known.
const MEMORY: Duration = Duration::from_secs(60);

/// The least time in which a request that will be refused is expected to be refused.
const MIN_CONFIRMATION: Duration = Duration::from_millis(20);

/// When a request started, in the order of all requests to its host.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    sequence: u64,
    pub started: Instant,
}

/// The refusals of one host.
#[derive(Debug, Default)]
pub struct Refusals {
    started: u64,
    served: u64,
    /// The URLs that were refused and not served since, each with how many requests were served before.
    refused: HashMap<usize, u64>,
    suspect: Option<Suspect>,
    bound: Option<Bound>,
}

/// The first refusal since a request that started later was served.
#[derive(Debug)]
struct Suspect {
    id: usize,
    sequence: u64,
    in_flight: usize,
    delay: Duration,
}

#[derive(Debug)]
struct Bound {
    limit: usize,
    /// The fewest requests at which the host is known to refuse. `None` if it refused everything, or that was long ago.
    ceiling: Option<usize>,
    /// How many requests were in flight when it refused for the first time.
    refused_at: usize,
    /// How many were in flight when the burst began.
    burst_at: usize,
    /// The URLs of the burst, which started before this number.
    burst: Vec<usize>,
    sequence: u64,
    counted: Instant,
    /// Whether it has refused again at the ceiling.
    is_confirmed: bool,
    /// Until the bound is certain: how long to wait for a refusal, until when, and how many requests to add next.
    doubt: Option<Doubt>,
    /// Requests served since the limit changed or a round was complete.
    served: usize,
    /// Complete rounds just below the ceiling.
    rounds: u32,
    /// Rounds to complete before the ceiling is tried again.
    probe_interval: u32,
}

#[derive(Debug)]
struct Doubt {
    wait: Duration,
    until: Instant,
    step: usize,
    /// Whether one of the added requests was refused.
    was_refused: bool,
}

impl Refusals {
    /// How many requests the host takes, if it has refused some.
    pub fn bound(&self) -> Option<usize> {
        self.bound.as_ref().map(|bound| bound.limit)
    }

    /// The number of a request that starts now.
    pub fn start(&mut self, now: Instant) -> Ticket {
        self.started += 1;
        Ticket { sequence: self.started, started: now }
    }

    /// A request for the download `id` was refused, with `in_flight` requests in flight including itself. Returns
    /// whether the bound has become lower.
    pub fn refused(&mut self, now: Instant, ticket: Ticket, id: usize, in_flight: usize) -> bool {
        let again = self.refused.insert(id, self.served);
        self.count(now, ticket, id, again, in_flight)
    }

    /// A request for a segment was refused. Its URL is not sick: the file is being received.
    pub fn segment_refused(&mut self, now: Instant, ticket: Ticket, in_flight: usize) -> bool {
        let id = usize::MAX - usize::try_from(ticket.sequence).unwrap_or_default();
        self.count(now, ticket, id, None, in_flight)
    }

    fn count(&mut self, now: Instant, ticket: Ticket, id: usize, again: Option<u64>, in_flight: usize) -> bool {
        let delay = now.saturating_duration_since(ticket.started);
        match (&mut self.bound, again) {
            // The rest of the burst.
            (Some(bound), None) if ticket.sequence <= bound.sequence => {
                bound.add(id, delay);
                true
            }
            // The host has refused at this level before.
            (Some(bound), _) if bound.ceiling.is_some_and(|ceiling| in_flight >= ceiling) => {
                bound.confirm(id, in_flight, self.started, now);
                self.suspect = None;
                true
            }
            (_, Some(served)) => {
                if served < self.served {
                    self.exonerate(id);
                }
                false
            }
            (_, None) => self.suspect(now, ticket, id, in_flight, delay),
        }
    }

    /// The host served a request for the download `id`. Returns whether the bound has become higher. `full` is how many
    /// requests there would be without it.
    pub fn served(&mut self, ticket: Ticket, id: usize, full: usize) -> bool {
        self.served += 1;
        self.refused.remove(&id);
        self.suspect.take_if(|suspect| suspect.sequence < ticket.sequence);
        let Some(bound) = &mut self.bound else { return false };
        let has_grown = bound.served();
        self.bound.take_if(|bound| bound.limit >= full);
        has_grown
    }

    /// Raises a bound that was not confirmed in time, although as many requests are in flight. Returns whether it has
    /// become higher.
    pub fn tick(&mut self, now: Instant, in_flight: usize) -> bool {
        let Some(bound) = &mut self.bound else { return false };
        if now.saturating_duration_since(bound.counted) >= MEMORY {
            bound.ceiling = None;
        }
        if let Some(doubt) = &mut bound.doubt
            && now >= doubt.until
            && in_flight < bound.limit.min(bound.refused_at)
        {
            // Nothing could be refused.
            doubt.until = now + doubt.wait;
        }
        if bound.is_refuted(now) {
            self.bound = None;
            return true;
        }
        bound.doubt(now)
    }

    /// Records the first refusal, or counts it if it is the second one.
    fn suspect(&mut self, now: Instant, ticket: Ticket, id: usize, in_flight: usize, delay: Duration) -> bool {
        let Some(first) = self.suspect.take() else {
            self.suspect = Some(Suspect { id, sequence: self.started, in_flight, delay });
            return false;
        };
        let mut bound = Bound::new(first.in_flight, first.delay.max(delay), self.started, now);
        bound.add(first.id, first.delay);
        if ticket.sequence <= first.sequence {
            bound.add(id, delay);
        }
        self.bound = Some(bound);
        true
    }

    /// A URL of the burst is refused while the host takes others: its refusals say nothing about the host.
    fn exonerate(&mut self, id: usize) {
        if let Some(bound) = &mut self.bound
            && let Some(index) = bound.burst.iter().position(|refused| *refused == id)
        {
            bound.burst.swap_remove(index);
            bound.limit += 1;
            bound.ceiling = Some(bound.limit + 1);
            self.bound.take_if(|bound| bound.burst.is_empty() && bound.doubt.is_some());
        }
    }
}

impl Bound {
    fn new(in_flight: usize, delay: Duration, sequence: u64, now: Instant) -> Self {
        let wait = (delay * 2).max(MIN_CONFIRMATION);
        Self {
            limit: in_flight.max(1),
            ceiling: None,
            refused_at: in_flight,
            burst_at: in_flight,
            burst: Vec::new(),
            sequence,
            counted: now,
            is_confirmed: false,
            doubt: Some(Doubt { wait, until: now + wait, step: 1, was_refused: false }),
            served: 0,
            rounds: 0,
            probe_interval: FIRST_PROBE_INTERVAL,
        }
    }

    /// Counts one more refusal of the burst.
    fn add(&mut self, id: usize, delay: Duration) {
        self.burst.push(id);
        let taken = self.burst_at.saturating_sub(self.burst.len());
        self.limit = taken.max(1);
        let is_down = taken == 0 && !self.is_confirmed;
        self.ceiling = (!is_down).then_some(self.limit + 1);
        if let Some(doubt) = &mut self.doubt {
            let wait = doubt.wait.max(delay * 2);
            (doubt.until, doubt.wait) = (doubt.until + (wait - doubt.wait), wait);
        }
    }

    /// The host has refused one more URL, with `in_flight` requests. While the bound is in doubt, it takes two to confirm
    /// it.
    fn confirm(&mut self, id: usize, in_flight: usize, sequence: u64, now: Instant) {
        match &mut self.doubt {
            Some(doubt) if !doubt.was_refused => {
                (doubt.was_refused, doubt.step, doubt.until) = (true, 1, now + doubt.wait);
            }
            Some(_) => self.doubt = None,
            None => self.probe_interval = (self.probe_interval * 2).min(MAX_PROBE_INTERVAL),
        }
        (self.sequence, self.counted) = (sequence, now);
        (self.served, self.rounds) = (0, 0);
        self.is_confirmed = true;
        // What is still in flight of the same burst lowers the bound further.
        self.burst_at = in_flight;
        self.burst.clear();
        let limit = self.limit;
        self.add(id, Duration::ZERO);
        self.limit = self.limit.min(limit);
        self.ceiling = Some(self.limit + 1);
    }

    fn served(&mut self) -> bool {
        // A host that refused everything was down rather than busy.
        let is_catching_up = self.ceiling.is_none() && self.limit < self.refused_at / 2;
        self.served += 1;
        if self.served < self.limit && !is_catching_up {
            return false;
        }
        self.served = 0;
        if self.ceiling.is_some_and(|ceiling| self.limit + 1 >= ceiling) {
            self.rounds += 1;
            if self.rounds < self.probe_interval {
                return false;
            }
            self.rounds = 0;
        }
        self.limit += 1;
        true
    }

    /// Whether as many requests as before are in flight, and none was refused in the time in which it would have been.
    fn is_refuted(&self, now: Instant) -> bool {
        self.limit >= self.refused_at && self.doubt.as_ref().is_some_and(|doubt| now >= doubt.until)
    }

    /// Adds requests if none was refused in that time.
    fn doubt(&mut self, now: Instant) -> bool {
        let Some(doubt) = self.doubt.as_mut().filter(|doubt| now >= doubt.until && self.ceiling.is_some()) else {
            return false;
        };
        let step = doubt.step;
        (doubt.until, doubt.step) = (now + doubt.wait, step * 2);
        self.limit += step;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// A host that takes `capacity` requests at once, and the requests in flight there.
    struct Host {
        refusals: Refusals,
        now: Instant,
        capacity: usize,
        /// Each with its download and when it ends: at once if it is refused.
        in_flight: Vec<(Ticket, usize, Instant)>,
        started: Instant,
        served: usize,
        refused: usize,
        requests: usize,
    }

    /// Without refusals, this many requests are in flight.
    const FULL: usize = 16;

    impl Host {
        fn new(capacity: usize) -> Self {
            let (now, in_flight) = (Instant::now(), Vec::new());
            let refusals = Refusals::default();
            Self { refusals, now, capacity, in_flight, started: now, served: 0, refused: 0, requests: 0 }
        }

        fn limit(&self) -> usize {
            self.refusals.bound().unwrap_or(FULL).min(FULL)
        }

        /// Fetches the downloads: each takes 50 ms, and a refusal 10 ms. `is_sick` says which are refused whatever the
        /// load, given how often they were. Those refused are tried again after a second. Returns the time it took.
        fn fetch(&mut self, downloads: usize, is_sick: impl Fn(usize, usize) -> bool) -> Duration {
            self.fetch_until(downloads, is_sick, |_| false);
            self.now - self.started
        }

        fn fetch_until(
            &mut self,
            downloads: usize,
            is_sick: impl Fn(usize, usize) -> bool,
            mut is_done: impl FnMut(&Self) -> bool,
        ) {
            let mut fresh: Vec<usize> = (0..downloads).rev().collect();
            let mut waiting: Vec<(Instant, usize)> = Vec::new();
            let mut refusals_of = HashMap::new();
            while !(fresh.is_empty() && waiting.is_empty() && self.in_flight.is_empty() || is_done(self)) {
                while self.in_flight.len() < self.limit() {
                    let due = waiting.iter().position(|(due, _)| *due <= self.now);
                    let Some(id) = due.map(|index| waiting.swap_remove(index).1).or_else(|| fresh.pop()) else { break };
                    self.requests += 1;
                    let served = self.in_flight.iter().filter(|(_, _, end)| *end > self.now + at(10)).count();
                    let is_refused = served >= self.capacity || is_sick(id, *refusals_of.get(&id).unwrap_or(&0));
                    let time = if is_refused { at(10) } else { at(50) };
                    if is_refused {
                        *refusals_of.entry(id).or_insert(0) += 1;
                    }
                    self.in_flight.push((self.refusals.start(self.now), id, self.now + time));
                    if is_refused {
                        waiting.push((self.now + at(1000), id));
                    }
                }
                self.now += at(1);
                let in_flight = self.in_flight.len();
                self.refusals.tick(self.now, in_flight);
                while let Some(index) = self.in_flight.iter().position(|(_, _, end)| *end <= self.now) {
                    let (ticket, id, end) = self.in_flight[index];
                    let count = self.in_flight.len();
                    self.in_flight.swap_remove(index);
                    if end - ticket.started == at(10) {
                        self.refused += 1;
                        self.refusals.refused(self.now, ticket, id, count);
                    } else {
                        self.served += 1;
                        self.refusals.served(ticket, id, FULL);
                    }
                }
            }
        }
    }

    #[test]
    fn a_host_that_takes_few_requests_is_not_asked_many() {
        for capacity in [1, 4, 6, 12, 15] {
            let mut host = Host::new(capacity);
            let took = host.fetch(200, |_, _| false);
            let best = at(50) * u32::try_from(200_usize.div_ceil(capacity)).unwrap();
            assert!(took < best.mul_f64(1.2) + at(1000), "{capacity}: {took:?} instead of {best:?}");
            assert!(host.refused * 6 <= host.requests, "{capacity}: {} of {} refused", host.refused, host.requests);
        }
    }

    #[test]
    fn sick_urls_do_not_slow_the_others() {
        for sick in [1, 2, 4, 8] {
            let mut host = Host::new(1000);
            // The healthy ones take half a second; the sick ones are tried twice more, a second apart.
            let took = host.fetch(FULL * 10, |id, refusals| id < sick && refusals < 2);
            assert!(took < at(2150), "{sick}: {took:?}");
            assert_eq!((host.refusals.bound(), host.requests), (None, FULL * 10 + sick * 2), "{sick}");
        }
    }

    #[test]
    fn healthy_urls_are_fetched_at_full_speed_beside_sick_ones() {
        // All sick ones come first, or evenly spread.
        for spread in [1, 12] {
            let mut host = Host::new(1000);
            let is_sick = |id: usize, _: usize| id.is_multiple_of(spread) && id < 8 * spread;
            let healthy = FULL * 20 - 8;
            let mut served_by = None;
            host.fetch_until(FULL * 20, is_sick, |host| {
                served_by = served_by.or((host.served == healthy).then_some(host.now));
                host.served == healthy
            });
            let took = served_by.unwrap() - host.started;
            assert!(took < at(50 * 20).mul_f64(1.2), "{spread}: {took:?}");
        }
    }

    #[test]
    fn the_bound_of_a_burst_of_sick_urls_is_lifted_at_once() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let tickets: Vec<_> = (0..16).map(|_| refusals.start(now)).collect();
        let refused = now + at(10);
        for (id, ticket) in tickets.into_iter().take(4).enumerate() {
            refusals.refused(refused, ticket, id, 16 - id);
        }
        assert_eq!(refusals.bound(), Some(12));
        let mut bounds = Vec::new();
        for step in 1..=4 {
            refusals.tick(refused + MIN_CONFIRMATION * step, FULL);
            bounds.push(refusals.bound());
        }
        assert_eq!(bounds, [Some(13), Some(15), Some(19), None]);
    }

    #[test]
    fn one_url_says_nothing_however_often_it_is_refused() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        for _ in 0..10 {
            let ticket = refusals.start(now);
            assert!(!refusals.refused(now, ticket, 7, 3));
        }
        // Nor do two, if one that started later is served in between.
        let (later, other) = (refusals.start(now), refusals.start(now));
        refusals.served(later, 8, FULL);
        assert!(!refusals.refused(now, other, 9, 2));
        assert_eq!(refusals.bound(), None);
        let third = refusals.start(now);
        assert!(refusals.refused(now, third, 10, 2));
        assert_eq!(refusals.bound(), Some(1));
    }

    #[test]
    fn a_host_that_was_down_is_soon_asked_as_much_as_before() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let tickets: Vec<_> = (0..16).map(|_| refusals.start(now)).collect();
        for (id, ticket) in tickets.into_iter().enumerate() {
            refusals.refused(now, ticket, id, 16 - id);
        }
        assert_eq!(refusals.bound(), Some(1));
        let mut served = 0;
        while refusals.bound().is_some() {
            let ticket = refusals.start(now);
            refusals.served(ticket, 100, FULL);
            served += 1;
        }
        assert!(served < 120, "{served}");
    }

    #[test]
    fn a_confirmed_bound_is_tried_ever_more_rarely_and_forgotten_after_a_minute() {
        let (mut refusals, mut now) = (Refusals::default(), Instant::now());
        let tickets: Vec<_> = (0..6).map(|_| refusals.start(now)).collect();
        for (id, ticket) in tickets.into_iter().take(2).enumerate() {
            refusals.refused(now, ticket, id, 6 - id);
        }
        let mut ids = 10..;
        let mut refuse = |refusals: &mut Refusals, now, in_flight| {
            let ticket = refusals.start(now);
            refusals.refused(now, ticket, ids.next().unwrap(), in_flight);
        };
        (0..2).for_each(|_| refuse(&mut refusals, now, 5));
        assert_eq!(refusals.bound(), Some(4));
        let mut waited = Vec::new();
        for _ in 0..3 {
            let mut count = 0;
            while refusals.bound() == Some(4) {
                let ticket = refusals.start(now);
                refusals.served(ticket, 99, FULL);
                count += 1;
            }
            waited.push(count);
            refuse(&mut refusals, now, 5);
            assert_eq!(refusals.bound(), Some(4));
        }
        assert_eq!(waited, [4 * 4, 8 * 4, 16 * 4]);
        now += MEMORY;
        refusals.tick(now, FULL);
        let mut count = 0;
        while refusals.bound().is_some() {
            let ticket = refusals.start(now);
            refusals.served(ticket, 99, FULL);
            count += 1;
        }
        assert_eq!(count, (4..FULL).sum::<usize>(), "one more a round");
    }
}
