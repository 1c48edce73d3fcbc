//! One host in the queue: what is to be fetched from it, and how much may be requested now.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::limiter::Limiter;

/// The downloads of one host that have not finished, and what is known about it.
#[derive(Debug)]
pub struct Host<T> {
    /// Downloads that have not been started yet.
    pub fresh: VecDeque<u32>,
    /// Downloads whose wait is over.
    pub due: VecDeque<(usize, T)>,
    /// Downloads that wait for their next attempt.
    pub waiting: usize,
    pub in_flight: usize,
    /// Made with the first request, for a list may name very many hosts.
    pub limiter: Option<Box<Limiter>>,
    pub held_until: Option<Instant>,
    /// Whether it is held only until it serves a request.
    pub is_held_for_load: bool,
    /// The first download since the last served request that was told to come back later, and when.
    pub told_to_wait: Option<(usize, Instant)>,
    /// How long the slowest running download will take that wants a segment and did not get a permit for one.
    pub wants_segment: Option<Duration>,
}

impl<T> Host<T> {
    pub const fn new() -> Self {
        Self {
            fresh: VecDeque::new(),
            due: VecDeque::new(),
            waiting: 0,
            in_flight: 0,
            limiter: None,
            held_until: None,
            is_held_for_load: false,
            told_to_wait: None,
            wants_segment: None,
        }
    }

    /// The download that would start next here.
    pub fn first(&self) -> Option<usize> {
        self.due.front().map(|(id, _)| *id).or_else(|| self.fresh.front().map(|id| *id as usize))
    }

    pub fn has_room(&self, per_host: usize) -> bool {
        self.held_until.is_none() && self.in_flight < self.limit(per_host)
    }

    pub fn limiter(&mut self, per_host: usize) -> &mut Limiter {
        self.limiter.get_or_insert_with(|| Box::new(Limiter::new(per_host)))
    }

    pub fn limit(&self, per_host: usize) -> usize {
        self.limiter.as_ref().map_or_else(|| Limiter::new(per_host).limit(), |limiter| limiter.limit())
    }

    /// Ends what only a busy host is held for. Returns whether that held it.
    pub fn end_hold_for_load(&mut self) -> bool {
        self.told_to_wait = None;
        let was_held = std::mem::take(&mut self.is_held_for_load);
        if was_held {
            self.held_until = None;
        }
        was_held
    }
}
