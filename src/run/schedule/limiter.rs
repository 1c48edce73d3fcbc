//! How many requests one host may have in flight: additive increase, multiplicative decrease (AIMD), with a remembered
//! ceiling.
//!
//! A throttled request (429 or 503) sets the limit to half of what is in flight, and to at least one. A round of served
//! requests, as many as may be in flight, raises it by one. The number of requests at which the host throttled is
//! remembered as the ceiling. Below it the limit grows every round. The ceiling itself is probed only after several
//! rounds; each time it is confirmed, that number doubles.

/// The limit of one host.
#[derive(Debug, Clone)]
pub struct Limiter {
    /// What the user allows.
    max: usize,
    limit: usize,
    /// How many requests were in flight when the host throttled.
    ceiling: Option<usize>,
    /// Requests served since the limit changed or a round was complete.
    served: usize,
    /// Complete rounds just below the ceiling.
    rounds: u32,
    /// Rounds to complete before the ceiling is probed again.
    probe_interval: u32,
    throttlings: u32,
}

/// Rounds before the ceiling is probed for the first time.
const FIRST_PROBE_INTERVAL: u32 = 4;

/// The longest interval. A host that throttled once may have recovered long ago.
const MAX_PROBE_INTERVAL: u32 = 256;

/// How many times the host had throttled when a request began. It distinguishes new throttling from the tail of a
/// burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch(u32);

impl Limiter {
    /// A limiter for a host that has not throttled yet.
    pub const fn new(max: usize) -> Self {
        Self {
            max,
            limit: max,
            ceiling: None,
            served: 0,
            rounds: 0,
            probe_interval: FIRST_PROBE_INTERVAL,
            throttlings: 0,
        }
    }

    /// How many requests may be in flight.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// The epoch of a request that begins now.
    pub const fn epoch(&self) -> Epoch {
        Epoch(self.throttlings)
    }

    /// The host throttled a request that began in `epoch`, while `in_flight` requests were in flight. Requests from an
    /// earlier epoch are ignored: they were part of the previous burst.
    pub fn throttled(&mut self, in_flight: usize, epoch: Epoch) {
        if epoch != self.epoch() {
            return;
        }
        let in_flight = in_flight.clamp(1, self.limit);
        if self.ceiling.is_some_and(|ceiling| in_flight >= ceiling) {
            self.probe_interval = (self.probe_interval * 2).min(MAX_PROBE_INTERVAL);
        } else {
            self.ceiling = Some(in_flight);
        }
        self.limit = (in_flight / 2).max(1);
        self.served = 0;
        self.rounds = 0;
        self.throttlings = self.throttlings.wrapping_add(1);
    }

    /// The host served a request. Returns whether the limit has grown.
    pub fn served(&mut self) -> bool {
        self.served += 1;
        if self.served < self.limit || self.limit >= self.max {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(limiter: &mut Limiter, count: usize) {
        (0..count).for_each(|_| _ = limiter.served());
    }

    #[test]
    fn a_burst_of_throttled_requests_halves_the_limit_once() {
        let mut limiter = Limiter::new(16);
        let epoch = limiter.epoch();
        for in_flight in (10..=16).rev() {
            limiter.throttled(in_flight, epoch);
        }
        assert_eq!(limiter.limit(), 8);
        limiter.throttled(8, limiter.epoch());
        assert_eq!(limiter.limit(), 4);
    }

    #[test]
    fn the_limit_stays_between_one_and_the_maximum() {
        let mut limiter = Limiter::new(3);
        for _ in 0..5 {
            limiter.throttled(3, limiter.epoch());
        }
        assert_eq!(limiter.limit(), 1);
        serve(&mut limiter, 10_000);
        assert_eq!(limiter.limit(), 3);
    }

    #[test]
    fn the_limit_grows_by_one_a_round_and_the_ceiling_is_probed_ever_more_rarely() {
        let mut limiter = Limiter::new(16);
        limiter.throttled(8, limiter.epoch());
        assert_eq!(limiter.limit(), 4);
        for limit in [5, 6, 7] {
            serve(&mut limiter, limit - 1);
            assert_eq!(limiter.limit(), limit);
        }
        let mut waited = Vec::new();
        for _ in 0..3 {
            let mut count = 0;
            while limiter.limit() < 8 {
                limiter.served();
                count += 1;
            }
            waited.push(count);
            limiter.throttled(8, limiter.epoch());
            while limiter.limit() < 7 {
                limiter.served();
            }
        }
        assert_eq!(waited, [4 * 7, 8 * 7, 16 * 7]);
    }

    /// A host that takes four requests at a time, and a thousand files: few requests are wasted, and the four are used.
    #[test]
    fn it_finds_the_capacity_of_a_host() {
        const CAPACITY: usize = 4;
        let mut limiter = Limiter::new(16);
        let (mut throttled, mut used, mut left) = (0, 0, 1000_usize);
        let mut turns = 0;
        while left > 0 {
            let (in_flight, epoch) = (limiter.limit().min(left), limiter.epoch());
            for _ in 0..in_flight.min(CAPACITY) {
                limiter.served();
                left -= 1;
            }
            for _ in CAPACITY..in_flight {
                limiter.throttled(in_flight, epoch);
                throttled += 1;
            }
            used += in_flight.min(CAPACITY);
            turns += 1;
        }
        assert!(throttled <= 1000 / 6, "{throttled} throttled");
        assert!(f64::from(turns) * CAPACITY as f64 <= 1.3 * used as f64, "{turns} turns");
    }
}
