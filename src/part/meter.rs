//! How fast something is filled, over the last second or two. Pure: whoever asks brings the time.

use std::time::{Duration, Instant};

/// A speed is known only after so long; before, it says more about the first packets than about the rest.
const YOUNG: Duration = Duration::from_millis(100);

/// The speed is that since the last mark but one, and a mark is made when the last is so old.
const BETWEEN_MARKS: Duration = Duration::from_secs(1);

/// The speed at which a position moves on.
#[derive(Debug, Clone)]
pub struct Meter {
    marks: [(Instant, u64); 2],
    /// What to assume before the speed is known, in bytes per second.
    assumed: Option<f64>,
}

impl Meter {
    /// A meter that begins at `position`, for something that may be as fast as `assumed`.
    pub const fn new(now: Instant, position: u64, assumed: Option<f64>) -> Self {
        Self { marks: [(now, position); 2], assumed }
    }

    /// Bytes per second at present; `None` while nobody knows.
    pub fn speed(&mut self, now: Instant, position: u64) -> Option<f64> {
        let [(since, from), (marked, _)] = self.marks;
        let elapsed = now.saturating_duration_since(since);
        if elapsed < YOUNG {
            return self.assumed;
        }
        if now.saturating_duration_since(marked) >= BETWEEN_MARKS {
            self.marks = [self.marks[1], (now, position)];
        }
        Some(position.saturating_sub(from) as f64 / elapsed.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_that_of_the_last_seconds() {
        let begun = Instant::now();
        let at = |milliseconds| begun + Duration::from_millis(milliseconds);
        let mut meter = Meter::new(begun, 1000, None);
        assert_eq!(meter.speed(at(99), 2000), None, "too young");
        assert_eq!(meter.speed(at(500), 2000), Some(2000.0));
        let mut position = 2000;
        for tick in 6..=40 {
            position += 10;
            meter.speed(at(tick * 100), position);
        }
        let speed = meter.speed(at(4100), position + 10).unwrap();
        assert!((speed - 100.0).abs() < 0.1, "the quick beginning is forgotten: {speed}");
        assert_eq!(Meter::new(begun, 0, Some(7.0)).speed(at(50), 0), Some(7.0));
    }
}
