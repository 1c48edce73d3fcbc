//! Which bytes of a file are there. Pure: the file itself is another's.

use serde::{Deserialize, Serialize};

/// A set of byte places: half-open ranges in ascending order, none empty and none touching the next.
/// Read from a sidecar it is checked: what is not such a list does not parse.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Pieces(Vec<(u64, u64)>);

impl Pieces {
    /// Adds the bytes from `start` up to, and without, `end`.
    pub fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        // Those that the new range touches become one with it.
        let from = self.0.partition_point(|(_, its_end)| *its_end < start);
        let to = self.0.partition_point(|(its_start, _)| *its_start <= end);
        let touched = &self.0[from..to];
        let merged = (
            touched.first().map_or(start, |(its_start, _)| start.min(*its_start)),
            touched.last().map_or(end, |(_, its_end)| end.max(*its_end)),
        );
        self.0.splice(from..to, [merged]);
    }

    /// Takes away the bytes from `end` on.
    pub fn cut(&mut self, end: u64) {
        self.0.retain(|(start, _)| *start < end);
        if let Some((_, last)) = self.0.last_mut() {
            *last = end.min(*last);
        }
    }

    /// How many bytes from the file's start on are there without a gap.
    #[must_use]
    pub fn prefix(&self) -> u64 {
        match self.0.first() {
            Some((0, end)) => *end,
            _ => 0,
        }
    }

    /// The place after the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |(_, end)| *end)
    }
}

/// Ranges that are empty, out of order, or touch each other.
#[derive(Debug, thiserror::Error)]
#[error("ranges that do not ascend")]
pub struct NotAscending;

impl TryFrom<Vec<(u64, u64)>> for Pieces {
    type Error = NotAscending;

    fn try_from(ranges: Vec<(u64, u64)>) -> Result<Self, NotAscending> {
        let none_empty = ranges.iter().all(|(start, end)| start < end);
        let ascend = ranges.windows(2).all(|pair| pair[0].1 < pair[1].0);
        if none_empty && ascend { Ok(Self(ranges)) } else { Err(NotAscending) }
    }
}

impl From<Pieces> for Vec<(u64, u64)> {
    fn from(pieces: Pieces) -> Self {
        pieces.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_ascending_ranges_are_pieces() {
        for (ranges, are) in [
            (vec![], true),
            (vec![(0, 5), (6, 9)], true),
            (vec![(0, 5), (5, 9)], false),
            (vec![(6, 9), (0, 5)], false),
            (vec![(3, 3)], false),
            (vec![(5, 3)], false),
        ] {
            assert_eq!(Pieces::try_from(ranges.clone()).is_ok(), are, "{ranges:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_are_what_was_added_and_not_cut(ranges in proptest::collection::vec((0u64..60, 0u64..60), 0..20), end in 0u64..60) {
            let mut pieces = Pieces::default();
            let mut model = [false; 60];
            for (start, end) in ranges {
                pieces.add(start, end);
                for place in start..end.max(start) {
                    model[place as usize] = true;
                }
            }
            pieces.cut(end);
            model[end as usize..].fill(false);
            let listed: Vec<(u64, u64)> = pieces.clone().into();
            for (place, is_there) in model.iter().enumerate() {
                let place = place as u64;
                prop_assert_eq!(listed.iter().any(|(start, end)| (*start..*end).contains(&place)), *is_there);
            }
            prop_assert_eq!(pieces.prefix(), model.iter().take_while(|is_there| **is_there).count() as u64);
            prop_assert_eq!(pieces.end(), model.iter().rposition(|is_there| *is_there).map_or(0, |last| last as u64 + 1));
            prop_assert_eq!(Pieces::try_from(listed).unwrap(), pieces);
        }
    }
}
