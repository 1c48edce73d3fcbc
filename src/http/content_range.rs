//! The `Content-Range` header (RFC 9110, section 14.4): which bytes of the file a response holds, and how long the file
//! is.

/// A valid `Content-Range`. One that contradicts itself (`5-2`, or a range beyond its total) cannot be constructed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentRange {
    /// `bytes first-last/total`, as in a 206; the total may be `*`.
    Satisfied {
        /// The offset of the first byte.
        first: u64,
        /// The offset of the last byte, at least `first`.
        last: u64,
        /// The length of the whole file, greater than `last`.
        total: Option<u64>,
    },
    /// `bytes */total`, as in a 416.
    Unsatisfied {
        /// The length of the whole file.
        total: u64,
    },
}

impl ContentRange {
    /// Parses a header's value; `None` if it does not match the grammar or contradicts itself.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (unit, rest) = value.trim().split_once(' ')?;
        let (range, total) = rest.trim().split_once('/')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        if range == "*" {
            return Some(Self::Unsatisfied { total: parse_number(total)? });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (parse_number(first)?, parse_number(last)?);
        let total = if total == "*" { None } else { Some(parse_number(total)?) };
        let is_range = first <= last && total.is_none_or(|total| last < total);
        is_range.then_some(Self::Satisfied { first, last, total })
    }
}

/// Parses a number of digits only: no sign, no space, no overflow.
fn parse_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn valid_and_invalid_values() {
        let satisfied = |first, last, total| Some(ContentRange::Satisfied { first, last, total });
        for (value, expected) in [
            ("bytes 0-499/1234", satisfied(0, 499, Some(1234))),
            ("bytes 500-1233/1234", satisfied(500, 1233, Some(1234))),
            ("Bytes 0-0/1", satisfied(0, 0, Some(1))),
            ("bytes 42-1233/*", satisfied(42, 1233, None)),
            ("bytes */1234", Some(ContentRange::Unsatisfied { total: 1234 })),
            ("bytes 0-1234/1234", None),
            ("bytes 9-8/10", None),
            ("bytes */*", None),
            ("bytes -5/10", None),
            ("bytes +1-5/10", None),
            ("bytes 0-99999999999999999999/*", None),
            ("items 0-4/5", None),
            ("bytes=0-4/5", None),
            ("", None),
        ] {
            assert_eq!(ContentRange::parse(value), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_text_causes_a_panic(text in "(?s)(bytes )?[-0-9*/ .]{0,30}.{0,10}") {
            let _ = ContentRange::parse(&text);
        }

        #[test]
        fn a_range_is_within_its_total(first: u64, last: u64, total: u64) {
            let parsed = ContentRange::parse(&format!("bytes {first}-{last}/{total}"));
            prop_assert_eq!(parsed.is_some(), first <= last && last < total);
        }
    }
}
