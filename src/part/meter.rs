//! Measures how fast a segment's response arrives, over the last second or two. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// A new sample is taken once the last one is this old. The speed is measured since the sample before the last.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// The speed at which a position advances.
#[derive(Debug, Clone)]
pub struct SpeedMeter {
    start: (Instant, u64),
    samples: [(Instant, u64); 2],
    /// When the position last advanced.
    advanced: Instant,
}

impl SpeedMeter {
    pub const fn new(now: Instant, position: u64) -> Self {
        Self { start: (now, position), samples: [(now, position); 2], advanced: now }
    }

    /// Records that the position has advanced. Call it for every advance.
    pub fn advance(&mut self, now: Instant, position: u64) {
        self.advanced = now;
        if now.saturating_duration_since(self.samples[1].0) >= SAMPLE_INTERVAL {
            self.samples = [self.samples[1], (now, position)];
        }
    }

    /// Returns the current speed in bytes per second; `None` before `settle` has passed, when it would reflect only the
    /// first packets.
    pub fn speed(&self, now: Instant, position: u64, settle: Duration) -> Option<f64> {
        let is_settled = now.saturating_duration_since(self.start.0) >= settle;
        is_settled.then(|| speed_since(self.samples[0], now, position))
    }

    /// Returns the mean speed since the start, in bytes per second.
    pub fn mean(&self, now: Instant, position: u64) -> f64 {
        speed_since(self.start, now, position)
    }

    /// Returns for how long it has been measuring.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start.0)
    }

    /// Returns for how long the position has not advanced.
    pub fn idle(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.advanced)
    }
}

fn speed_since((since, from): (Instant, u64), now: Instant, position: u64) -> f64 {
    let elapsed = now.saturating_duration_since(since).max(Duration::from_micros(1));
    position.saturating_sub(from) as f64 / elapsed.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_measured_over_the_last_seconds() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let settle = Duration::from_millis(100);
        let mut meter = SpeedMeter::new(start, 1000);
        assert_eq!(meter.speed(at(99), 2000, settle), None, "too young");
        assert_eq!(meter.speed(at(500), 2000, settle), Some(2000.0));
        let mut position = 2000;
        for tick in 6..=40 {
            position += 10;
            meter.advance(at(tick * 100), position);
        }
        let speed = meter.speed(at(4100), position + 10, settle).unwrap();
        assert!((speed - 100.0).abs() < 10.0, "the fast start is forgotten: {speed}");
        let mean = meter.mean(at(4000), position);
        assert!((mean - 337.5).abs() < 0.1, "{mean}");
        assert_eq!(meter.idle(at(4200)), Duration::from_millis(200));
    }
}
