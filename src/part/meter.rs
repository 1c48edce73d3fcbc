//! Measures how fast a segment is written, over the last second or two. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// Before this, no speed is reported: it would reflect only the first packets.
const MIN_ELAPSED: Duration = Duration::from_millis(100);

/// A new sample is taken once the last one is this old. The speed is measured since the sample before the last.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// The speed at which a position advances.
#[derive(Debug, Clone)]
pub struct SpeedMeter {
    samples: [(Instant, u64); 2],
    /// The speed to assume before one is measured, in bytes per second.
    assumed: Option<f64>,
}

impl SpeedMeter {
    pub const fn new(now: Instant, position: u64, assumed: Option<f64>) -> Self {
        Self { samples: [(now, position); 2], assumed }
    }

    /// Returns the current speed in bytes per second; `None` if it is still unknown.
    pub fn speed(&mut self, now: Instant, position: u64) -> Option<f64> {
        let [(since, from), (last, _)] = self.samples;
        let elapsed = now.saturating_duration_since(since);
        if elapsed < MIN_ELAPSED {
            return self.assumed;
        }
        if now.saturating_duration_since(last) >= SAMPLE_INTERVAL {
            self.samples = [self.samples[1], (now, position)];
        }
        Some(position.saturating_sub(from) as f64 / elapsed.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_measured_over_the_last_seconds() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut meter = SpeedMeter::new(start, 1000, None);
        assert_eq!(meter.speed(at(99), 2000), None, "too young");
        assert_eq!(meter.speed(at(500), 2000), Some(2000.0));
        let mut position = 2000;
        for tick in 6..=40 {
            position += 10;
            meter.speed(at(tick * 100), position);
        }
        let speed = meter.speed(at(4100), position + 10).unwrap();
        assert!((speed - 100.0).abs() < 0.1, "the fast start is forgotten: {speed}");
        assert_eq!(SpeedMeter::new(start, 0, Some(7.0)).speed(at(50), 0), Some(7.0));
    }
}
