//! What a host's refusals say about how many requests it takes: an upper bound, where there is one.
//!
//! - One URL that is refused says nothing: it may be sick. A refusal counts once a second URL is refused before a request
//!   that started after the first refusal is served. A URL that is refused again never counts.
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
    /// How many requests were in flight when it refused.
    refused_at: usize,
    /// The URLs of the burst, which started before this number.
    burst: Vec<usize>,
    sequence: u64,
    counted: Instant,
    /// Until the bound is confirmed: how long to wait for a refusal, until when, and how many requests to add next.
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
        if let Some(served) = self.refused.insert(id, self.served) {
            if served < self.served {
                self.exonerate(id, in_flight);
            }
            return false;
        }
        let delay = now.saturating_duration_since(ticket.started);
        match &mut self.bound {
            Some(bound) if ticket.sequence <= bound.sequence => {
                bound.add(id, delay);
                true
            }
            // The host has refused at this level before.
            Some(bound) if bound.doubt.is_some() || bound.ceiling.is_some_and(|ceiling| in_flight >= ceiling) => {
                bound.confirm(id, in_flight, self.started, now);
                self.suspect = None;
                true
            }
            _ => self.suspect(now, ticket, id, in_flight, delay),
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

    /// Raises a bound that was not confirmed in time. Returns whether it has become higher.
    pub fn tick(&mut self, now: Instant) -> bool {
        let Some(bound) = &mut self.bound else { return false };
        if now.saturating_duration_since(bound.counted) >= MEMORY {
            bound.ceiling = None;
        }
        let has_grown = bound.doubt(now);
        self.bound.take_if(|bound| bound.doubt.is_some() && bound.limit >= bound.refused_at);
        has_grown
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
    fn exonerate(&mut self, id: usize, in_flight: usize) {
        let Some(bound) = &mut self.bound else { return };
        if bound.ceiling.is_some_and(|ceiling| in_flight < ceiling)
            && let Some(index) = bound.burst.iter().position(|refused| *refused == id)
        {
            bound.burst.swap_remove(index);
            bound.raise(1);
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
            burst: Vec::new(),
            sequence,
            counted: now,
            doubt: Some(Doubt { wait, until: now + wait, step: 1, was_refused: false }),
            served: 0,
            rounds: 0,
            probe_interval: FIRST_PROBE_INTERVAL,
        }
    }

    /// Counts one more refusal of the burst.
    fn add(&mut self, id: usize, delay: Duration) {
        self.burst.push(id);
        let taken = self.refused_at.saturating_sub(self.burst.len());
        self.limit = taken.max(1);
        self.ceiling = (taken > 0).then_some(taken + 1);
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
        // What is still in flight of the same burst lowers the bound further.
        self.refused_at = in_flight;
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

    /// Adds requests if none was refused in the time in which it would have been.
    fn doubt(&mut self, now: Instant) -> bool {
        let Some(doubt) = self.doubt.as_mut().filter(|doubt| now >= doubt.until && self.ceiling.is_some()) else {
            return false;
        };
        let step = doubt.step;
        (doubt.until, doubt.step) = (now + doubt.wait, step * 2);
        self.raise(step);
        true
    }

    fn raise(&mut self, by: usize) {
        self.limit += by;
        self.ceiling = Some(self.limit + 1);
    }
}
