//! A set of byte offsets, as in a sidecar's `done`. Does no I/O.

use serde::{Deserialize, Serialize};

/// A set of byte offsets: half-open ranges in ascending order, none empty and none touching the next. Deserializing
/// checks this.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds the offsets from `start` up to, but excluding, `end`.
    pub fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        // Ranges that the new one overlaps or touches are merged with it.
        let first = self.0.partition_point(|(_, range_end)| *range_end < start);
        let last = self.0.partition_point(|(range_start, _)| *range_start <= end);
        let touched = &self.0[first..last];
        let merged = (
            touched.first().map_or(start, |(range_start, _)| start.min(*range_start)),
            touched.last().map_or(end, |(_, range_end)| end.max(*range_end)),
        );
        self.0.splice(first..last, [merged]);
    }

    /// Removes the offsets from `start` up to, but excluding, `end`.
    pub fn remove(&mut self, start: u64, end: u64) {
        let first = self.0.partition_point(|(_, range_end)| *range_end <= start);
        let last = self.0.partition_point(|(range_start, _)| *range_start < end);
        if start >= end || first >= last {
            return;
        }
        let left = [(self.0[first].0, start), (end, self.0[last - 1].1)];
        self.0.splice(first..last, left.into_iter().filter(|(from, to)| from < to));
    }

    /// Returns the first range at or after `offset` that is not in the set. Its end is `u64::MAX` after the last one in
    /// the set.
    #[must_use]
    pub fn gap_from(&self, offset: u64) -> (u64, u64) {
        let next = self.0.partition_point(|(_, end)| *end <= offset);
        let start_of = |index: usize| self.0.get(index).map_or(u64::MAX, |(start, _)| *start);
        match self.0.get(next) {
            Some((start, end)) if *start <= offset => (*end, start_of(next + 1)),
            _ => (offset, start_of(next)),
        }
    }

    /// Returns the first range below `length` that is not in the set.
    #[must_use]
    pub fn first_missing(&self, length: u64) -> Option<(u64, u64)> {
        let (start, next) = match self.0.as_slice() {
            [(0, end), rest @ ..] => (*end, rest.first()),
            ranges => (0, ranges.first()),
        };
        let end = next.map_or(length, |(start, _)| length.min(*start));
        (start < end).then_some((start, end))
    }

    /// Returns how many offsets are in the set.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// Returns the offset after the last one in the set.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |(_, end)| *end)
    }
}

/// Some ranges are empty, out of order, or touch each other.
#[derive(Debug, thiserror::Error)]
#[error("ranges are not in ascending order")]
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
    fn only_ascending_ranges_parse() {
        for (ranges, is_valid) in [
            (vec![], true),
            (vec![(0, 5), (6, 9)], true),
            (vec![(0, 5), (5, 9)], false),
            (vec![(6, 9), (0, 5)], false),
            (vec![(3, 3)], false),
            (vec![(5, 3)], false),
        ] {
            assert_eq!(Ranges::try_from(ranges.clone()).is_ok(), is_valid, "{ranges:?}");
        }
    }

    proptest! {
        #[test]
        fn a_set_contains_exactly_what_was_added(ranges in proptest::collection::vec((0u64..60, 0u64..60), 0..20), length in 0u64..80) {
            let mut set = Ranges::default();
            let mut model = [false; 80];
            for (start, end) in ranges {
                set.add(start, end);
                for offset in start..end.max(start) {
                    model[offset as usize] = true;
                }
            }
            let listed: Vec<(u64, u64)> = set.clone().into();
            for (offset, is_in_set) in model.iter().enumerate() {
                let offset = offset as u64;
                prop_assert_eq!(listed.iter().any(|(start, end)| (*start..*end).contains(&offset)), *is_in_set);
            }
            prop_assert_eq!(set.count(), model.iter().filter(|is_in_set| **is_in_set).count() as u64);
            prop_assert_eq!(set.end(), model.iter().rposition(|is_in_set| *is_in_set).map_or(0, |last| last as u64 + 1));
            let missing = model[..length as usize].iter().position(|is_in_set| !is_in_set).map(|start| {
                let end = model[start..length as usize].iter().position(|is_in_set| *is_in_set);
                (start as u64, end.map_or(length, |end| (start + end) as u64))
            });
            prop_assert_eq!(set.first_missing(length), missing);
            let (start, end) = set.gap_from(length);
            prop_assert!(start >= length && end > start && !listed.iter().any(|(from, to)| *from < end && start < *to));
            prop_assert!((length..start).all(|offset| model.get(offset as usize) == Some(&true)));
            prop_assert_eq!(Ranges::try_from(listed).unwrap(), set);
        }

        #[test]
        fn what_is_removed_is_missing(ranges in proptest::collection::vec((0u64..60, 0u64..60), 0..20), cut in (0u64..60, 0u64..60)) {
            let (mut set, mut without) = (Ranges::default(), Ranges::default());
            for (start, end) in ranges {
                set.add(start, end);
                without.add(start, if cut.0 < cut.1 { end.min(cut.0) } else { end });
                if cut.0 < cut.1 {
                    without.add(start.max(cut.1), end);
                }
            }
            set.remove(cut.0, cut.1);
            prop_assert_eq!(set, without);
        }
    }
}
