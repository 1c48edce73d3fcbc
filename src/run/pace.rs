//! How many requests one host bears: halved when it refuses some, grown again as it answers.
//!
//! A refusal (429 or 503) halves what may be in flight, to one at the least; a round of answers, as many as may be in
//! flight, lets in one more. The height at which the host refused is remembered: up to it the growth is quick, beyond
//! it is tried only after some rounds, and after each refusal there twice as many.

/// The pace of one host.
#[derive(Debug, Clone)]
pub struct Pace {
    /// What the user allows.
    most: usize,
    /// What may be in flight now.
    limit: usize,
    /// How many were in flight when the host refused.
    height: Option<usize>,
    /// Answers since the limit was changed or a round was full.
    answers: usize,
    /// Full rounds just below the height.
    rounds: u32,
    /// Rounds to pass before the height is tried again.
    patience: u32,
    refusals: u32,
}

/// Rounds before the height is tried for the first time.
const FIRST_PATIENCE: u32 = 4;

/// More patience than this is no caution but neglect.
const MOST_PATIENCE: u32 = 256;

/// When a request began, as the pace counts: it tells whether a refusal is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Era(u32);

impl Pace {
    /// A host of which nothing bad is known.
    pub const fn new(most: usize) -> Self {
        Self { most, limit: most, height: None, answers: 0, rounds: 0, patience: FIRST_PATIENCE, refusals: 0 }
    }

    /// How many requests may be in flight.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// The time by which a request that begins now is told from older ones.
    pub const fn era(&self) -> Era {
        Era(self.refusals)
    }

    /// The host refused a request that began in `era`, with so many in flight. Those that were in flight at an earlier
    /// refusal say nothing new.
    pub fn refused(&mut self, in_flight: usize, era: Era) {
        if era != self.era() {
            return;
        }
        let in_flight = in_flight.clamp(1, self.limit);
        if self.height.is_some_and(|height| in_flight >= height) {
            self.patience = (self.patience * 2).min(MOST_PATIENCE);
        } else {
            self.height = Some(in_flight);
        }
        self.limit = (in_flight / 2).max(1);
        self.answers = 0;
        self.rounds = 0;
        self.refusals = self.refusals.wrapping_add(1);
    }

    /// The host answered as it should. Says whether more may be in flight now.
    pub fn answered(&mut self) -> bool {
        self.answers += 1;
        if self.answers < self.limit || self.limit >= self.most {
            return false;
        }
        self.answers = 0;
        if self.height.is_some_and(|height| self.limit + 1 >= height) {
            self.rounds += 1;
            if self.rounds < self.patience {
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

    fn answers(pace: &mut Pace, count: usize) {
        (0..count).for_each(|_| _ = pace.answered());
    }

    #[test]
    fn a_burst_of_refusals_halves_once() {
        let mut pace = Pace::new(16);
        let era = pace.era();
        for in_flight in (10..=16).rev() {
            pace.refused(in_flight, era);
        }
        assert_eq!(pace.limit(), 8);
        pace.refused(8, pace.era());
        assert_eq!(pace.limit(), 4);
    }

    #[test]
    fn it_never_falls_below_one_nor_grows_beyond_what_is_allowed() {
        let mut pace = Pace::new(3);
        for _ in 0..5 {
            pace.refused(3, pace.era());
        }
        assert_eq!(pace.limit(), 1);
        answers(&mut pace, 10_000);
        assert_eq!(pace.limit(), 3);
    }

    #[test]
    fn it_grows_one_a_round_to_the_height_and_beyond_it_ever_more_rarely() {
        let mut pace = Pace::new(16);
        pace.refused(8, pace.era());
        assert_eq!(pace.limit(), 4);
        for limit in [5, 6, 7] {
            answers(&mut pace, limit - 1);
            assert_eq!(pace.limit(), limit);
        }
        let mut waited = Vec::new();
        for _ in 0..3 {
            let mut count = 0;
            while pace.limit() < 8 {
                pace.answered();
                count += 1;
            }
            waited.push(count);
            pace.refused(8, pace.era());
            while pace.limit() < 7 {
                pace.answered();
            }
        }
        assert_eq!(waited, [4 * 7, 8 * 7, 16 * 7]);
    }

    /// A host that bears four at a time, asked for a thousand files: the pace wastes few requests and uses the four.
    #[test]
    fn it_finds_the_height_of_a_host() {
        const BEARS: usize = 4;
        let mut pace = Pace::new(16);
        let (mut refused, mut used, mut left) = (0, 0, 1000_usize);
        let mut turns = 0;
        while left > 0 {
            let (in_flight, era) = (pace.limit().min(left), pace.era());
            for _ in 0..in_flight.min(BEARS) {
                pace.answered();
                left -= 1;
            }
            for _ in BEARS..in_flight {
                pace.refused(in_flight, era);
                refused += 1;
            }
            used += in_flight.min(BEARS);
            turns += 1;
        }
        assert!(refused <= 1000 / 6, "{refused} refused");
        assert!(f64::from(turns) * BEARS as f64 <= 1.3 * used as f64, "{turns} turns");
    }
}
