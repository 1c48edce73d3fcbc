//! What proves that two answers are of the same file: a strong entity tag, or a date old enough to be strong
//! (RFC 9110, sections 8.8 and 13.1.5).

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// A `Last-Modified` is strong when it is at least so much older than the answer's `Date` (RFC 9110, section 8.8.2.2).
const SETTLED: Duration = Duration::from_secs(60);

/// A strong validator. Serialized, it is what a sidecar keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Validator {
    /// An `ETag` with its quotes, as it was sent and is sent back.
    Etag(String),
    /// A `Last-Modified`, as it was sent and is sent back.
    LastModified(String),
}

impl Validator {
    /// The strongest validator that an answer's headers hold; `None` if none is strong.
    #[must_use]
    pub fn of_headers(etag: Option<&str>, last_modified: Option<&str>, date: Option<&str>) -> Option<Self> {
        if let Some(etag) = etag.filter(|etag| is_strong(etag)) {
            return Some(Self::Etag(etag.to_owned()));
        }
        let modified = httpdate::parse_http_date(last_modified?).ok()?;
        let answered: SystemTime = httpdate::parse_http_date(date?).ok()?;
        let settled = answered.duration_since(modified).is_ok_and(|age| age >= SETTLED);
        settled.then(|| Self::LastModified(last_modified.unwrap_or_default().to_owned()))
    }

    /// The value of an `If-Range` header that asks for a range of this very file.
    #[must_use]
    pub fn if_range(&self) -> &str {
        match self {
            Self::Etag(value) | Self::LastModified(value) => value,
        }
    }

    /// Whether an answer's headers, where they say anything of this kind, say the same. A weak tag is another.
    #[must_use]
    pub fn agrees_with(&self, etag: Option<&str>, last_modified: Option<&str>) -> bool {
        match self {
            Self::Etag(own) => etag.is_none_or(|etag| etag == own),
            Self::LastModified(own) => last_modified.is_none_or(|date| date == own),
        }
    }
}

/// Whether a value is an entity tag, and not a weak one: quoted, of visible characters.
fn is_strong(etag: &str) -> bool {
    let inner = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| inner.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    #[test]
    fn only_strong_validators_are_taken() {
        let etag = |text: &str| Some(Validator::Etag(text.to_owned()));
        let date = |text: &str| Some(Validator::LastModified(text.to_owned()));
        for (tag, modified, answered, expected) in [
            (Some("\"abc\""), None, None, etag("\"abc\"")),
            (Some("\"\""), None, None, etag("\"\"")),
            (Some("\"abc\""), Some(OLD), Some("Sun, 06 Nov 1994 08:59:37 GMT"), etag("\"abc\"")),
            (Some("W/\"abc\""), None, None, None),
            (Some("abc"), None, None, None),
            (Some("\"a\"b\""), None, None, None),
            (Some("\""), None, None, None),
            (Some("W/\"abc\""), Some(OLD), Some("Sun, 06 Nov 1994 08:50:37 GMT"), date(OLD)),
            (None, Some(OLD), Some("Sun, 06 Nov 1994 08:50:37 GMT"), date(OLD)),
            (None, Some(OLD), Some("Sun, 06 Nov 1994 08:50:36 GMT"), None),
            (None, Some(OLD), Some("Sun, 06 Nov 1994 08:00:00 GMT"), None),
            (None, Some(OLD), None, None),
            (None, Some("yesterday"), Some(OLD), None),
            (None, None, Some(OLD), None),
        ] {
            assert_eq!(Validator::of_headers(tag, modified, answered), expected, "{tag:?} {modified:?} {answered:?}");
        }
    }

    #[test]
    fn what_is_not_said_agrees_and_what_is_said_must_be_the_same() {
        let tag = Validator::Etag("\"a\"".to_owned());
        assert!(tag.agrees_with(None, Some(OLD)) && tag.agrees_with(Some("\"a\""), None));
        assert!(!tag.agrees_with(Some("\"b\""), None) && !tag.agrees_with(Some("W/\"a\""), None));
        let date = Validator::LastModified(OLD.to_owned());
        assert!(date.agrees_with(Some("\"b\""), None) && date.agrees_with(None, Some(OLD)));
        assert!(!date.agrees_with(None, Some("Sun, 06 Nov 1994 08:49:38 GMT")));
    }

    proptest! {
        #[test]
        fn no_headers_make_it_panic(etag in "(?s)(W/)?\"?.{0,20}\"?", modified in "(?s).{0,40}", date in "(?s).{0,40}") {
            if let Some(Validator::Etag(tag)) = Validator::of_headers(Some(&etag), Some(&modified), Some(&date)) {
                prop_assert!(tag.starts_with('"') && tag.len() >= 2);
            }
        }
    }
}
