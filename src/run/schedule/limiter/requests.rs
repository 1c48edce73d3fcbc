//! How long requests took, summed over those that ran under the same conditions.

use std::time::{Duration, Instant};

/// What a server may send at once on a new connection: ten packets.
const INITIAL_WINDOW: u64 = 14_480;

/// Requests that spend more of their time than this waiting share no link.
const MIN_WAITING: f64 = 0.85;

/// Requests that spend less of their time than this waiting are limited by the link.
const MAX_TRANSFERRING: f64 = 0.4;

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

    /// How many are served per second with `in_flight` of them at once (Little's law). Those that are still running count
    /// with the time that they have taken so far.
    pub fn throughput(&self, in_flight: usize, now: Instant) -> f64 {
        let running = (now.saturating_duration_since(self.since) * self.running).saturating_sub(self.starts);
        let time = (self.ended.time + running).as_secs_f64().max(1e-6);
        in_flight as f64 * self.ended.count as f64 / time
    }
}

/// The sums over several requests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Requests {
    pub count: usize,
    time: Duration,
    first_byte: Duration,
    /// The time that they would have taken if they had only waited for round trips.
    waits: Duration,
}

impl Requests {
    pub fn add(&mut self, request: &Request) {
        self.count += 1;
        self.time += request.time;
        self.first_byte += request.first_byte;
        self.waits += request.first_byte * request.round_trips();
    }

    /// The mean time of a request; 0 without any.
    pub fn mean_time(&self) -> Duration {
        self.mean(self.time)
    }

    /// The mean time to the first byte; 0 without any.
    pub fn mean_first_byte(&self) -> Duration {
        self.mean(self.first_byte)
    }

    /// The mean time that one would take alone, over a connection that is past half of its slow start.
    pub fn mean_time_alone(&self) -> Duration {
        self.mean(self.first_byte + self.time.saturating_sub(self.first_byte) / 2)
    }

    /// Whether they did little but wait for round trips, so that the link has room for many more.
    pub fn mostly_wait(&self) -> bool {
        self.waits.as_secs_f64() > MIN_WAITING * self.time.as_secs_f64()
    }

    /// Whether they took much longer than the round trips that they waited for, so that they fill the link.
    pub fn mostly_transfer(&self) -> bool {
        self.waits.as_secs_f64() < MAX_TRANSFERRING * self.time.as_secs_f64()
    }

    fn mean(&self, sum: Duration) -> Duration {
        sum.checked_div(u32::try_from(self.count).unwrap_or(u32::MAX)).unwrap_or_default()
    }
}

impl Request {
    /// How many round trips its body takes on a new connection, which begins with ten packets and doubles (RFC 6928).
    fn round_trips(&self) -> u32 {
        (self.bytes / INITIAL_WINDOW + 1).ilog2() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn request(time: u64, bytes: u64) -> Request {
        Request { time: at(time), first_byte: at(100), connect: None, bytes }
    }

    #[test]
    fn requests_that_only_wait_are_told_from_those_that_share_the_link() {
        for (bytes, time, waits, transfers) in [
            (4096, 110, true, false),
            (65_536, 320, true, false),
            (65_536, 400, false, false),
            (4096, 150, false, false),
            (65_536, 800, false, true),
        ] {
            let mut requests = Requests::default();
            requests.add(&request(time, bytes));
            assert_eq!(requests.mostly_wait(), waits, "{bytes} in {time} ms");
            assert_eq!(requests.mostly_transfer(), transfers, "{bytes} in {time} ms");
        }
    }

    #[test]
    fn the_slow_ones_of_a_cohort_count_before_they_end() {
        let start = Instant::now();
        let mut cohort = Cohort::new(start, 8);
        for number in 0..10 {
            cohort.started(start + at(number));
        }
        assert!(!cohort.contains(start + at(8)), "it is complete");
        for number in 0..7 {
            cohort.ended(start + at(number));
            cohort.ended.add(&request(100, 1));
        }
        assert!(!cohort.is_complete(), "one of eight is running");
        let throughput = cohort.throughput(16, start + at(307));
        assert!((throughput - 16.0 * 7.0 / 1.0).abs() < 1e-6, "{throughput}: 7 took 700 ms, and one 300 so far");
        cohort.ended(start + at(7));
        cohort.ended.add(&request(300, 1));
        assert!(cohort.is_complete());
    }
}
