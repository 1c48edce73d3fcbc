//! How many bytes arrived from a host over the last seconds. Pure: the time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Samples closer together than this replace each other.
const MIN_SPACING: Duration = Duration::from_millis(5);

/// How far back the samples go.
const HISTORY: Duration = Duration::from_secs(5);

/// Counts of received bytes, at the times when they were sampled.
#[derive(Debug, Default)]
pub struct Speed(VecDeque<(Instant, u64)>);

impl Speed {
    /// Records that `received` bytes have arrived until `now`, counted from the beginning.
    pub fn record(&mut self, now: Instant, received: u64) {
        if let [.., (before, _), (last, count)] = self.0.make_contiguous()
            && now.saturating_duration_since(*before) < MIN_SPACING
        {
            (*last, *count) = (now, received);
            return;
        }
        self.0.push_back((now, received));
        while self.0.get(1).is_some_and(|(time, _)| now.saturating_duration_since(*time) > HISTORY) {
            self.0.pop_front();
        }
    }

    /// The bytes per second between two times; `None` if the samples do not go back that far, or are too few.
    pub fn between(&self, from: Instant, to: Instant) -> Option<f64> {
        let elapsed = to.checked_duration_since(from).filter(|elapsed| *elapsed >= MIN_SPACING)?;
        Some((self.count_at(to)? - self.count_at(from)?) / elapsed.as_secs_f64())
    }

    /// The count at a time between two samples, as if bytes had arrived evenly between them.
    fn count_at(&self, time: Instant) -> Option<f64> {
        let after = self.0.partition_point(|(sample, _)| *sample <= time);
        let (before, count) = self.0.get(after.checked_sub(1)?)?;
        let Some((next, next_count)) = self.0.get(after) else { return Some(*count as f64) };
        let share = (time - *before).as_secs_f64() / (*next - *before).as_secs_f64();
        Some(*count as f64 + (next_count - count) as f64 * share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_that_between_the_two_times() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut speed = Speed::default();
        for (time, received) in [(0, 0), (100, 1000), (102, 1000), (200, 1000), (300, 4000)] {
            speed.record(at(time), received);
        }
        assert_eq!(speed.between(at(0), at(100)), Some(10_000.0));
        assert_eq!(speed.between(at(100), at(200)), Some(0.0));
        assert_eq!(speed.between(at(200), at(250)), Some(30_000.0), "within a sample");
        assert_eq!(speed.between(at(300), at(300)), None, "no time at all");
        assert_eq!(Speed::default().between(at(0), at(100)), None);
        assert_eq!(speed.between(start - Duration::from_millis(1), at(100)), None, "before the first sample");
    }

    #[test]
    fn old_samples_are_forgotten() {
        let start = Instant::now();
        let mut speed = Speed::default();
        (0..10_000).for_each(|count| speed.record(start + Duration::from_millis(count), count * 7));
        assert!(speed.0.len() <= 5_000 / 4 + 2, "{}", speed.0.len());
        let end = start + Duration::from_millis(9_999);
        assert_eq!(speed.between(end - Duration::from_secs(4), end).map(f64::round), Some(7_000.0));
    }
}
