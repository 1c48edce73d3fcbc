//! How long requests took, summed over those that ran under the same conditions.

use std::time::{Duration, Instant};

/// A request counts as this many bytes in addition to those of its body: a small file costs a round trip, whatever its
/// size.
const REQUEST_COST: u64 = 64 * 1024;

/// Fewer requests than this say nothing.
pub const MIN_SAMPLE: usize = 4;

/// One request for a whole file that was served.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// From its start to its end, without connecting.
    pub time: Duration,
    /// From when it was sent to the head of its response.
    pub first_byte: Duration,
    /// The time to open a connection, if it did not use one that was open.
    pub connect: Option<Duration>,
    pub bytes: u64,
}

/// The first requests that start after a certain time. All of them are waited for, or nearly: the first to end are the
/// quick ones.
#[derive(Debug, Clone)]
pub struct Cohort {
    since: Instant,
    /// When the last one started.
    until: Instant,
    missing: usize,
    running: u32,
    /// The sum of the running requests' starts, each since `since`.
    starts: Duration,
    pub ended: Requests,
}

impl Cohort {
    pub fn new(since: Instant, size: usize) -> Self {
        let (starts, ended) = (Duration::ZERO, Requests::default());
        Self { since, until: since, missing: size.max(MIN_SAMPLE), running: 0, starts, ended }
    }

    /// A request starts now.
    pub fn started(&mut self, now: Instant) {
        if self.missing > 0 && now >= self.since {
            self.until = now;
            self.missing -= 1;
            self.running += 1;
            self.starts += now - self.since;
        }
    }

    /// Whether a request is of this cohort.
    pub fn contains(&self, started: Instant) -> bool {
        self.since <= started && started <= self.until && self.running > 0
    }

    /// A request of this cohort ends.
    pub fn ended(&mut self, started: Instant) {
        if self.contains(started) {
            self.running -= 1;
            self.starts = self.starts.saturating_sub(started - self.since);
        }
    }

    /// Whether nearly all of them have ended.
    pub fn is_complete(&self) -> bool {
        self.missing == 0 && self.running as usize <= self.ended.count / 8
    }

    /// How much is done per second with `in_flight` such requests at once. Those that are still running count with the
    /// time that they have taken so far.
    pub fn throughput(&self, in_flight: usize, now: Instant) -> f64 {
        let running = (now.saturating_duration_since(self.since) * self.running).saturating_sub(self.starts);
        Requests { time: self.ended.time + running, ..self.ended }.throughput(in_flight)
    }
}

/// The sums over several requests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Requests {
    pub count: usize,
    work: u64,
    time: Duration,
    first_byte: Duration,
}

impl Requests {
    pub fn add(&mut self, request: &Request) {
        self.count += 1;
        self.work += request.bytes + REQUEST_COST;
        self.time += request.time;
        self.first_byte += request.first_byte;
    }

    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.work += other.work;
        self.time += other.time;
        self.first_byte += other.first_byte;
    }

    /// The mean time of a request; 0 without any.
    pub fn mean_time(&self) -> Duration {
        self.time.checked_div(u32::try_from(self.count).unwrap_or(u32::MAX)).unwrap_or_default()
    }

    /// The mean time to the first byte; 0 without any.
    pub fn mean_first_byte(&self) -> Duration {
        self.first_byte.checked_div(u32::try_from(self.count).unwrap_or(u32::MAX)).unwrap_or_default()
    }

    /// Whether requests spend most of their time waiting for their first byte, so that more of them at once cost the
    /// link next to nothing.
    pub fn mostly_wait(&self) -> bool {
        self.first_byte.as_secs_f64() > 0.75 * self.time.as_secs_f64()
    }

    /// How much is done per second with `in_flight` such requests at once (Little's law).
    pub fn throughput(&self, in_flight: usize) -> f64 {
        in_flight as f64 * self.work as f64 / self.time.as_secs_f64().max(1e-6)
    }
}
