//! A trial of more requests, and what it must bring.

use std::time::{Duration, Instant};

use super::requests::Cohort;

/// How many downloads of one host start at once, before anything is known.
pub const START: usize = 16;

/// How much faster everything must become with twice as many requests. Beyond [`START`] a third: servers are shared.
const MIN_GAIN: f64 = 1.15;
const MIN_GAIN_BEYOND_START: f64 = 4.0 / 3.0;

/// With such a gain, requests do not hinder each other: the next trial is of four times as many.
const LINEAR_GAIN: f64 = 1.6;

/// A trial of more requests.
#[derive(Debug)]
pub struct Trial {
    pub from: usize,
    pub to: usize,
    /// How many requests may be in flight so far, and from when to when more are added.
    pub released: usize,
    pub release: (Instant, Duration),
    /// When the additional requests should have brought their first bytes.
    pub warm_at: Instant,
    pub measure: Measure,
}

/// How a trial is judged.
#[derive(Debug)]
pub enum Measure {
    /// By how many requests are served per second. For small files.
    Requests(Cohort),
    /// By how many bytes arrive per second. For large files and segments.
    Bytes { base: f64 },
}

impl Trial {
    /// Adds requests, evenly over the time for that.
    pub fn release(&mut self, now: Instant) {
        let (start, time) = self.release;
        let share = now.saturating_duration_since(start).as_secs_f64() / time.as_secs_f64();
        let share = if time.is_zero() { 1.0 } else { share.min(1.0) };
        self.released = self.from + ((self.to - self.from) as f64 * share) as usize;
    }

    /// Whether it compares how many bytes arrive.
    pub fn is_of_bytes(&self) -> bool {
        matches!(self.measure, Measure::Bytes { .. })
    }
}

/// The gain that a trial must bring.
pub fn min_gain(from: usize, to: usize) -> f64 {
    gain(if to > START { MIN_GAIN_BEYOND_START } else { MIN_GAIN }, from, to)
}

/// A gain per doubling, for any growth.
fn gain(per_doubling: f64, from: usize, to: usize) -> f64 {
    per_doubling.powf((to as f64 / from as f64).log2())
}

/// Whether a gain is so large that requests do not hinder each other.
pub fn is_linear(ratio: f64, from: usize, to: usize) -> bool {
    ratio >= gain(LINEAR_GAIN, from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_must_bring_more_beyond_the_start() {
        for (from, to, least) in
            [(1, 2, 1.15), (2, 8, 1.3225), (8, 16, 1.15), (16, 32, 4.0 / 3.0), (16, 64, 16.0 / 9.0)]
        {
            assert!((min_gain(from, to) - least).abs() < 1e-9, "{from} {to}: {}", min_gain(from, to));
        }
        assert!(is_linear(1.6, 1, 2) && !is_linear(1.6, 1, 4));
    }

    #[test]
    fn requests_are_added_evenly() {
        let start = Instant::now();
        let measure = Measure::Bytes { base: 1.0 };
        let second = Duration::from_secs(1);
        let mut trial = Trial { from: 16, to: 64, released: 16, release: (start, second), warm_at: start, measure };
        let mut released = Vec::new();
        for quarter in 0..=5 {
            trial.release(start + second * quarter / 4);
            released.push(trial.released);
        }
        assert_eq!(released, [16, 28, 40, 52, 64, 64]);
        trial.release = (start, Duration::ZERO);
        trial.release(start);
        assert_eq!(trial.released, 64, "all at once");
    }
}
