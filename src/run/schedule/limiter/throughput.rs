//! How the speed at which a host sends depends on how many requests are in flight. Pure: the time is an argument.

use std::time::{Duration, Instant};

use super::speed::Speed;
use super::trial::min_gain;

/// Speed that rises by less than this between two windows has stopped growing of itself (slow start).
const STEADY: f64 = 1.15;

/// Speeds that differ by less than this are nearly the same.
const EVEN: f64 = 1.1;

/// The speed of a host, now and at its best.
#[derive(Debug, Default)]
pub struct Throughput {
    speed: Speed,
    /// How many requests are in flight, and since when.
    in_flight: Option<(usize, Instant)>,
    /// The highest speed over a window, and with how many requests in flight that was.
    best: Option<(usize, f64)>,
}

impl Throughput {
    /// Records how many bytes have arrived until now.
    pub fn record(&mut self, now: Instant, received: u64, in_flight: usize) {
        self.speed.record(now, received);
        if self.in_flight.is_none_or(|(count, _)| count != in_flight) {
            self.in_flight = Some((in_flight, now));
        }
    }

    /// The bytes per second since then.
    pub fn since(&self, start: Instant, now: Instant) -> Option<f64> {
        self.speed.between(start, now)
    }

    /// The speeds in the last window and in the one before.
    pub fn last_two(&self, now: Instant, window: Duration) -> Option<(f64, f64)> {
        let (middle, start) = (now.checked_sub(window)?, now.checked_sub(window * 2)?);
        Some((self.speed.between(middle, now)?, self.speed.between(start, middle)?))
    }

    /// Whether as many requests have been in flight for this time.
    pub fn is_constant(&self, now: Instant, time: Duration) -> bool {
        self.in_flight.is_some_and(|(_, since)| now.saturating_duration_since(since) >= time)
    }

    /// Whether the speed has stopped growing of itself.
    pub fn is_steady(&self, now: Instant, window: Duration) -> bool {
        self.last_two(now, window).is_some_and(|(last, before)| last <= before * STEADY)
    }

    /// Whether the speeds in so many windows are nearly the same.
    pub fn is_even(&self, now: Instant, window: Duration, windows: u32) -> bool {
        let speed = |number| {
            let end = now.checked_sub(window * number)?;
            self.speed.between(end.checked_sub(window)?, end)
        };
        let speeds: Option<Vec<f64>> = (0..windows).map(speed).collect();
        speeds.is_some_and(|speeds| {
            let highest = speeds.iter().copied().fold(0.0, f64::max);
            speeds.iter().all(|speed| highest <= speed * EVEN)
        })
    }

    /// Compares the speed with the highest so far. Returns with how many requests that was, if more were in flight then
    /// and less arrives with fewer: the link does not limit them.
    pub fn compare_with_best(&mut self, now: Instant, window: Duration) -> Option<usize> {
        let (in_flight, _) = self.in_flight.filter(|_| self.is_constant(now, window))?;
        let (speed, _) = self.last_two(now, window)?;
        match self.best {
            Some((most, best)) if in_flight < most && speed * min_gain(in_flight, most) < best => Some(most),
            Some((_, best)) if speed <= best => None,
            _ => {
                self.best = Some((in_flight, speed));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(50);

    /// Runs for a second with so many requests in flight, at this many bytes per millisecond.
    fn run(throughput: &mut Throughput, now: &mut Instant, received: &mut u64, in_flight: usize, rate: u64) {
        for _ in 0..1000 {
            *now += Duration::from_millis(1);
            *received += rate;
            throughput.record(*now, *received, in_flight);
        }
    }

    #[test]
    fn more_requests_are_useful_if_less_arrives_with_fewer() {
        for (rate_with_half, useful) in [(1000, None), (900, None), (500, Some(16))] {
            let (mut throughput, mut now, mut received) = (Throughput::default(), Instant::now(), 0);
            run(&mut throughput, &mut now, &mut received, 16, 1000);
            assert_eq!(throughput.compare_with_best(now, WINDOW), None);
            run(&mut throughput, &mut now, &mut received, 8, rate_with_half);
            assert_eq!(throughput.compare_with_best(now, WINDOW), useful, "{rate_with_half}");
            assert_eq!(throughput.compare_with_best(now, Duration::from_secs(2)), None, "it is too new");
        }
    }

    #[test]
    fn a_speed_that_grows_is_not_steady() {
        let (mut throughput, mut now, mut received) = (Throughput::default(), Instant::now(), 0);
        assert!(!throughput.is_steady(now, WINDOW));
        for milliseconds in 0..100 {
            now += Duration::from_millis(1);
            received += milliseconds * 1000;
            throughput.record(now, received, 1);
        }
        assert!(!throughput.is_steady(now, WINDOW), "still growing");
        run(&mut throughput, &mut now, &mut received, 1, 99_000);
        assert!(throughput.is_steady(now, WINDOW));
    }
}
