//! Decides which bytes of a file another connection asks for. Pure arithmetic on sizes and speeds; `segments` knows
//! the offsets.
//!
//! The bytes that an open-ended segment has not reached are *unclaimed*. A further connection claims a bounded range
//! from their end, so that its response ends by itself and its connection can be reused, while the open-ended response
//! is cut only once, when it meets the first claim. The sizes are those of guided self-scheduling (Polychronopoulos and
//! Kuck, 1987): large first, then smaller, so that all connections end at about the same time with few requests.
//!
//! When nothing is left to claim, a further connection takes from the segment that would end last what lets both end
//! together, or all of the rest, if that saves time.

use std::time::Duration;

/// The smallest claim, and the largest trial of a short file.
pub const MIN_CLAIM: u64 = 256 * 1024;

/// A claim takes at least this many round trips, and its request one more. With four, a simulated 128 MiB over 16
/// connections with a round trip of 120 ms takes 7 % longer.
const MIN_ROUND_TRIPS: f64 = 8.0;

/// A trial with a second connection is at most this part of the file. The cut of the open-ended response throws away
/// what is in flight; the more connections share that, the more may be tried.
const TRIAL_PART: u64 = 64;

/// All trials with a second connection together are at most this part of the file, unless it has stalled.
const TRIALS_PART: u64 = 48;

/// With a file that is shorter than so many of the smallest claims nothing is tried, unless it has stalled: the cut would
/// throw away too much of it.
const SHORT_FILE: u64 = 16;

/// A cut of less than this part of the file costs little, at twice what is in flight without a queue.
const CHEAP_CUT: u64 = 36;

/// How many round trips a trial takes where that costs little.
const TRIAL_ROUND_TRIPS: u64 = 5;

/// The speed of a response of this age has stopped growing of itself.
const MATURE: Duration = Duration::from_millis(700);

/// The smallest trial.
const MIN_TRIAL: u64 = 64 * 1024;

/// A file that takes less time than this is left to its connections.
const MIN_TIME_LEFT: Duration = Duration::from_millis(50);

/// Neither part of a divided rest is smaller than this. Where the slow part would be, all of the rest is taken.
const MIN_SHARE: f64 = 64.0 * 1024.0;

/// A share is at least this many times what is in flight when the response of the segment is cut, and thrown away.
const MIN_GAIN: f64 = 4.0;

/// A rest is divided only if that saves more time than this.
const MIN_SAVING: Duration = Duration::from_millis(100);

/// What the caller says about a further connection.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    /// How long a request takes to bring its first byte.
    pub round_trip: Duration,
    /// Whether the connection is only an attempt to find out if more connections make the download faster. Its claim is
    /// small: if they do not, the cut of the open-ended response throws away no more than that.
    pub is_trial: bool,
}

/// A segment from whose end bytes can be taken.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// The bytes that it has not reached.
    pub rest: u64,
    /// Its speed in bytes per second; 0 if it has stalled.
    pub speed: f64,
    /// Its speed since it began.
    pub mean_speed: f64,
    /// How long ago its response began.
    pub age: Duration,
    /// Whether its rest is unclaimed.
    pub is_open_ended: bool,
}

/// The segments of a file, for a decision.
#[derive(Debug)]
pub struct Situation<'a> {
    pub candidates: &'a [Candidate],
    /// The connections that the file has, and the further one.
    pub connections: usize,
    /// The speed of a connection that has finished.
    pub finished_speed: Option<f64>,
    pub length: u64,
    /// How many connections have been shown to pay, and how many bytes were claimed in trials since.
    pub proven: usize,
    pub tried: u64,
}

/// What a further connection takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The candidate that it takes from.
    pub index: usize,
    /// The number of bytes, from the end of the candidate's rest.
    pub count: u64,
    /// How long the candidate would take for its rest.
    pub time_left: Duration,
}

/// Returns what a further connection should take, if anything.
pub fn choose_tail(situation: &Situation<'_>, demand: &Demand) -> Option<Tail> {
    let candidates = || situation.candidates.iter().enumerate().filter(|(_, it)| !situation.is_tried(it, demand));
    let last = |tails: &mut dyn Iterator<Item = Tail>| tails.max_by_key(|tail| tail.time_left);
    let claims = |(index, candidate): (usize, &Candidate)| {
        let (time_left, count) = (candidate.time_left(), situation.claim(index, demand)?);
        Some(Tail { index, count, time_left })
    };
    let shares = |(index, candidate): (usize, &Candidate)| {
        let (time_left, count) = (candidate.time_left(), situation.share(index, demand.round_trip)?);
        Some(Tail { index, count, time_left })
    };
    last(&mut candidates().filter_map(claims)).or_else(|| last(&mut candidates().filter_map(shares)))
}

impl Situation<'_> {
    /// Returns how much to claim of an open-ended segment; `None` if that would leave less than the claim itself.
    fn claim(&self, index: usize, demand: &Demand) -> Option<u64> {
        let candidate = self.candidates.get(index).filter(|candidate| candidate.is_open_ended)?;
        let fresh = self.fresh_speed(index);
        let minimum = ((MIN_ROUND_TRIPS * demand.round_trip.as_secs_f64() * fresh) as u64).max(MIN_CLAIM);
        let open_ended = self.candidates.iter().filter(|candidate| candidate.is_open_ended);
        let unclaimed: u64 = open_ended.map(|candidate| candidate.rest).sum();
        let guided = (unclaimed / (2 * self.connections as u64)).min(candidate.rest / 2);
        let count =
            guided.max(minimum).min(if demand.is_trial { self.trial(candidate, demand.round_trip) } else { u64::MAX });
        let is_worthwhile = candidate.time_left() > MIN_TIME_LEFT.max(demand.round_trip.saturating_mul(2));
        (is_worthwhile && candidate.rest / 2 >= count).then_some(count)
    }

    /// Returns how much a trial may claim.
    fn trial(&self, candidate: &Candidate, round_trip: Duration) -> u64 {
        if candidate.speed <= 0.0 {
            // It has stalled: nothing of it is in flight. The longer that lasts, the more is asked for at a time.
            return (self.length / TRIAL_PART).max(MIN_CLAIM).max(self.tried);
        }
        if self.length < MIN_CLAIM * SHORT_FILE {
            return 0;
        }
        let proven = self.proven.max(1) as u64;
        let round_trip_bytes = (candidate.speed * round_trip.as_secs_f64()) as u64;
        if candidate.age >= MATURE && 2 * round_trip_bytes <= self.length / CHEAP_CUT {
            // Whatever is tried, the cut throws away little. So it may take as long as it takes to judge it.
            let most = (self.length / TRIAL_PART).max(MIN_CLAIM).max(round_trip_bytes * TRIAL_ROUND_TRIPS);
            return most.min((self.length / CHEAP_CUT * proven).max(MIN_CLAIM).saturating_sub(self.tried));
        }
        let most = (self.length / TRIAL_PART / proven).max(MIN_CLAIM);
        let left = (self.length / TRIALS_PART * proven).max(MIN_CLAIM).saturating_sub(self.tried);
        most.min(left)
    }

    /// Whether enough was tried with a segment: more would make the cut of its response throw away more.
    fn is_tried(&self, candidate: &Candidate, demand: &Demand) -> bool {
        demand.is_trial && candidate.is_open_ended && self.trial(candidate, demand.round_trip) < MIN_TRIAL
    }

    /// Returns how much of a segment's rest another connection should take for both to end at the same time; all of it
    /// if the segment would be left with little, or has stalled. `None` if that saves too little time.
    fn share(&self, index: usize, round_trip: Duration) -> Option<u64> {
        let candidate = self.candidates.get(index).filter(|candidate| candidate.rest > 0)?;
        let (rest, speed) = (candidate.rest as f64, candidate.speed);
        if speed <= 0.0 {
            return Some(candidate.rest);
        }
        let fresh = self.fresh_speed(index);
        let latency = round_trip.as_secs_f64();
        let time_together = (rest + fresh * latency) / (speed + fresh);
        let taken = fresh * (time_together - latency);
        let is_all = rest - taken < MIN_SHARE;
        let time = if is_all { latency + rest / fresh } else { time_together };
        let saving = rest / speed - time;
        let min_saving = MIN_SAVING.max(round_trip.saturating_mul(2)).as_secs_f64();
        let cut = speed * latency;
        let is_worthwhile = saving > min_saving && (is_all || taken >= MIN_SHARE.max(MIN_GAIN * cut));
        is_worthwhile.then_some(if is_all { candidate.rest } else { taken as u64 })
    }

    /// Returns the speed to expect of a further connection: the median of the others, or else what the segment that it
    /// takes from has had so far.
    fn fresh_speed(&self, index: usize) -> f64 {
        let others = self.candidates.iter().enumerate().filter(|(other, _)| *other != index);
        let speeds = others.map(|(_, candidate)| candidate.speed).chain(self.finished_speed);
        let mut speeds: Vec<f64> = speeds.filter(|speed| *speed > 0.0).collect();
        speeds.sort_by(f64::total_cmp);
        let mean = || self.candidates.get(index).map_or(0.0, |candidate| candidate.mean_speed);
        // Above zero, because times are computed from it.
        speeds.get(speeds.len() / 2).copied().unwrap_or_else(mean).max(1.0)
    }
}

impl Candidate {
    fn time_left(&self) -> Duration {
        Duration::try_from_secs_f64(self.rest as f64 / self.speed).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;

    fn demand(milliseconds: u64) -> Demand {
        Demand { round_trip: Duration::from_millis(milliseconds), is_trial: false }
    }

    /// A segment with a rest in KiB and a speed in KiB per second.
    fn segment(rest: u64, speed: u64, is_open_ended: bool) -> Candidate {
        let speed = (speed * KIB) as f64;
        Candidate { rest: rest * KIB, speed, mean_speed: speed, age: Duration::ZERO, is_open_ended }
    }

    fn choose(candidates: &[Candidate], connections: usize, demand: &Demand) -> Option<(usize, u64)> {
        let situation =
            Situation { candidates, connections, finished_speed: None, length: 128 * MIB, proven: 1, tried: 0 };
        choose_tail(&situation, demand).map(|tail| (tail.index, tail.count / KIB))
    }

    #[test]
    fn claims_shrink_with_what_is_unclaimed_and_with_the_number_of_connections() {
        for (rest, speed, connections, round_trip, claimed) in [
            (128 * KIB, 1024, 2, 10, Some(32 * KIB)),
            (128 * KIB, 1024, 16, 10, Some(4 * KIB)),
            // At least 256 KiB, and at least eight round trips.
            (4 * KIB, 1024, 16, 10, Some(256)),
            (128 * KIB, 25 * 1024, 16, 120, Some(24 * KIB)),
            // Less than twice that is divided so that both parts end together: (500 - 1000 * 10 ms) / 2.
            (500, 1000, 2, 10, Some(245)),
            // 95 KiB would be saved in 95 ms.
            (200, 1000, 2, 10, None),
            (200, 100, 2, 10, Some(99)),
            // Both parts would be too small.
            (100, 100, 2, 10, None),
            (0, 100, 2, 10, None),
        ] {
            let found = choose(&[segment(rest, speed, true)], connections, &demand(round_trip));
            assert_eq!(found, claimed.map(|claimed| (0, claimed)), "{rest} {speed} {connections} {round_trip}");
        }
    }

    #[test]
    fn a_trial_is_small() {
        let trial = Demand { is_trial: true, ..demand(120) };
        assert_eq!(choose(&[segment(128 * KIB, 25 * 1024, true)], 2, &trial), Some((0, 2 * KIB)));
        let candidates = &[segment(6 * KIB, 1024, true)];
        let situation =
            Situation { candidates, connections: 2, finished_speed: None, length: 8 * MIB, proven: 1, tried: 0 };
        assert_eq!(choose_tail(&situation, &trial).map(|tail| tail.count), Some(MIN_CLAIM));
    }

    #[test]
    fn nothing_is_tried_with_a_short_file_unless_it_has_stalled() {
        let trial = Demand { is_trial: true, ..demand(10) };
        for (length, speed, claimed) in [(4 * MIB, 1024, true), (4 * MIB - 1, 1024, false), (2 * MIB, 0, true)] {
            let candidates = &[segment(length / KIB, speed, true)];
            let situation = Situation { candidates, connections: 2, finished_speed: None, length, proven: 1, tried: 0 };
            assert_eq!(choose_tail(&situation, &trial).is_some(), claimed, "{length} {speed}");
        }
    }

    #[test]
    fn trials_of_what_has_stalled_grow() {
        let trial = Demand { is_trial: true, ..demand(10) };
        let candidates = &[segment(16 * KIB, 0, true)];
        for (tried, claimed) in [(0, MIN_CLAIM), (MIN_CLAIM, MIN_CLAIM), (MIB, MIB), (9 * MIB, 4 * MIB)] {
            let situation =
                Situation { candidates, connections: 2, finished_speed: None, length: 16 * MIB, proven: 1, tried };
            assert_eq!(choose_tail(&situation, &trial).map(|tail| tail.count), Some(claimed), "{tried}");
        }
    }

    #[test]
    fn what_is_unclaimed_comes_before_what_is_slow() {
        let candidates = [segment(64 * KIB, 1024, true), segment(32 * KIB, 1, false)];
        assert_eq!(choose(&candidates, 4, &demand(10)), Some((0, 8 * KIB)));
    }

    #[test]
    fn the_rest_of_a_slow_segment_is_shared_by_speed_or_taken_whole() {
        for (rest, speed, taken) in [
            // At 20 KiB/s beside 4 MiB/s, it would be left with 5 KiB.
            (1024, 20, Some(1024)),
            // (4096 KiB + 41 KiB) / 5 MiB/s is 808 ms, of which 10 are the round trip.
            (4096, 1024, Some(3268)),
            (4096, 0, Some(4096)),
            (10, 0, Some(10)),
            (10, 20, Some(10)),
            // It saves less than 100 ms.
            (10, 100, None),
            (400, 4096, None),
        ] {
            let candidates = [segment(rest, speed, false), segment(0, 4096, true)];
            let found = choose(&candidates, 3, &demand(10));
            assert_eq!(found, taken.map(|taken| (0, taken)), "{rest} {speed}");
        }
        let slow = [segment(400, 400, false), segment(0, 4096, true)];
        assert!(choose(&slow, 3, &demand(100)).is_some());
        assert_eq!(choose(&slow, 3, &demand(400)), None, "less than two round trips");
    }
}
