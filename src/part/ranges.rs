//! A set of byte places in a file.

use serde::{Deserialize, Serialize};

/// A set of byte places: half-open ranges in ascending order, none empty and none touching the next.
/// Read from a sidecar it is checked: what is not such a list does not parse.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
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

    /// The first places before `length` that are not in the set, up to the next that is.
    #[must_use]
    pub fn gap(&self, length: u64) -> Option<(u64, u64)> {
        let (start, next) = match self.0.as_slice() {
            [(0, end), rest @ ..] => (*end, rest.first()),
            ranges => (0, ranges.first()),
        };
        let end = next.map_or(length, |(start, _)| length.min(*start));
        (start < end).then_some((start, end))
    }

    /// How many places are in the set.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// The place after the last one in the set.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |(_, end)| *end)
    }
}

/// Ranges that are empty, out of order, or touch each other.
#[derive(Debug, thiserror::Error)]
#[error("ranges that do not ascend")]
pub struct NotAscending;

impl TryFrom<Vec<(u64, u64)>> for Ranges {
    type Error = NotAscending;

    fn try_from(ranges: Vec<(u64, u64)>) -> Result<Self, NotAscending> {
        let none_empty = ranges.iter().all(|(start, end)| start < end);
        let ascend = ranges.windows(2).all(|pair| pair[0].1 < pair[1].0);
        if none_empty && ascend { Ok(Self(ranges)) } else { Err(NotAscending) }
    }
}

impl From<Ranges> for Vec<(u64, u64)> {
    fn from(ranges: Ranges) -> Self {
        ranges.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_ascending_ranges_are_a_set() {
        for (ranges, are) in [
            (vec![], true),
            (vec![(0, 5), (6, 9)], true),
            (vec![(0, 5), (5, 9)], false),
            (vec![(6, 9), (0, 5)], false),
            (vec![(3, 3)], false),
            (vec![(5, 3)], false),
        ] {
            assert_eq!(Ranges::try_from(ranges.clone()).is_ok(), are, "{ranges:?}");
        }
    }

    proptest! {
        #[test]
        fn a_set_is_what_was_added(ranges in proptest::collection::vec((0u64..60, 0u64..60), 0..20), length in 0u64..80) {
            let mut set = Ranges::default();
            let mut model = [false; 80];
            for (start, end) in ranges {
                set.add(start, end);
                for place in start..end.max(start) {
                    model[place as usize] = true;
                }
            }
            let listed: Vec<(u64, u64)> = set.clone().into();
            for (place, is_there) in model.iter().enumerate() {
                let place = place as u64;
                prop_assert_eq!(listed.iter().any(|(start, end)| (*start..*end).contains(&place)), *is_there);
            }
            prop_assert_eq!(set.count(), model.iter().filter(|is_there| **is_there).count() as u64);
            prop_assert_eq!(set.end(), model.iter().rposition(|is_there| *is_there).map_or(0, |last| last as u64 + 1));
            let gap = model[..length as usize].iter().position(|is_there| !is_there).map(|start| {
                let end = model[start..length as usize].iter().position(|is_there| *is_there);
                (start as u64, end.map_or(length, |end| (start + end) as u64))
            });
            prop_assert_eq!(set.gap(length), gap);
            prop_assert_eq!(Ranges::try_from(listed).unwrap(), set);
        }
    }
}
