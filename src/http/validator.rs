//! What proves that two answers are of the same file: a strong entity tag, or a date old enough to be strong
//! (RFC 9110, sections 8.8 and 13.1.5), and nothing that speaks against it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A `Last-Modified` is strong when it is at least so much older than the answer's `Date` (RFC 9110, section 8.8.2.2).
const SETTLED: Duration = Duration::from_secs(60);

/// Headers that are longer together are no validator. Servers keep all headers of an answer to 8 or 16 KiB, and a sidecar
/// has to stay small enough to be told from a user's file.
const LONGEST: usize = 8 * 1024;

/// What an answer's headers say of the file that it holds, each as it was sent. Several values of one name are joined,
/// and what is no text counts as a value like any other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityHeaders {
    /// The `ETag`.
    pub etag: Option<String>,
    /// The `Last-Modified` date.
    pub last_modified: Option<String>,
    /// The `Content-Encoding`.
    #[serde(rename = "coding")]
    pub content_encoding: Option<String>,
    /// The [identity](crate::url::WebUrl::identity) of the URL that answered, after redirects: a tag is a tag of that.
    #[serde(rename = "place")]
    pub effective_url: String,
}

/// The marks of a file, of which one is a strong validator. Serialized, it is what a sidecar keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validator {
    #[serde(rename = "marks")]
    headers: EntityHeaders,
    /// Whether the date is strong.
    is_settled: bool,
}

impl EntityHeaders {
    fn length(&self) -> usize {
        let texts = [&self.etag, &self.last_modified, &self.content_encoding];
        self.effective_url.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

impl Validator {
    /// The validator in an answer's marks and its `Date`; `None` if nothing there is strong, or if the marks are longer
    /// than 8 KiB together.
    #[must_use]
    pub fn of(headers: EntityHeaders, date: Option<&str>) -> Option<Self> {
        let time = |text: &Option<String>| httpdate::parse_http_date(text.as_deref()?).ok();
        let age = || httpdate::parse_http_date(date?).ok()?.duration_since(time(&headers.last_modified)?).ok();
        let is_settled = age().is_some_and(|age| age >= SETTLED);
        Some(Self { headers, is_settled }).filter(Self::is_sound)
    }

    /// Whether it is one: what is read from a file may say anything.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let is_date = |text: &String| httpdate::parse_http_date(text).is_ok() && text.is_ascii();
        let is_dated = self.is_settled && self.headers.last_modified.as_ref().is_some_and(is_date);
        self.headers.length() <= LONGEST && (self.strong_etag().is_some() || is_dated)
    }

    /// The value of an `If-Range` header that asks for a range of this very file.
    #[must_use]
    pub fn if_range(&self) -> &str {
        self.strong_etag().or(self.headers.last_modified.as_deref()).unwrap_or_default()
    }

    /// Whether a partial answer's marks say nothing else than the first answer's: what is not said agrees, but for the
    /// coding and the place, of which saying nothing says something.
    #[must_use]
    pub fn agrees_with(&self, entity_headers: &EntityHeaders) -> bool {
        let agrees = |own: &Option<String>, other: &Option<String>| own.is_none() || other.is_none() || own == other;
        agrees(&self.headers.etag, &entity_headers.etag)
            && agrees(&self.headers.last_modified, &entity_headers.last_modified)
            && self.headers.content_encoding == entity_headers.content_encoding
            && self.headers.effective_url == entity_headers.effective_url
    }

    /// Whether an answer's marks have the strong one, as a 206 must (RFC 9110, section 15.3.7).
    #[must_use]
    pub fn is_confirmed_by(&self, entity_headers: &EntityHeaders) -> bool {
        match self.strong_etag() {
            Some(etag) => entity_headers.etag.as_deref() == Some(etag),
            None => self.headers.last_modified == entity_headers.last_modified,
        }
    }

    /// The file's coding: for an answer that holds nothing of the file, and so has none.
    #[must_use]
    pub fn content_encoding(&self) -> Option<String> {
        self.headers.content_encoding.clone()
    }

    fn strong_etag(&self) -> Option<&str> {
        self.headers.etag.as_deref().filter(|etag| is_strong(etag))
    }
}

/// Whether a value is an entity tag, and not a weak one: quoted, of visible characters.
fn is_strong(etag: &str) -> bool {
    let inner = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| inner.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn entity_headers(etag: Option<&str>, last_modified: Option<&str>) -> EntityHeaders {
        let text = |text: &str| text.to_owned();
        EntityHeaders {
            etag: etag.map(text),
            last_modified: last_modified.map(text),
            content_encoding: None,
            effective_url: "http://h/x".to_owned(),
        }
    }

    #[test]
    fn only_strong_validators_are_taken() {
        for (tag, modified, answered, if_range) in [
            (Some("\"abc\""), None, None, Some("\"abc\"")),
            (Some("\"\""), None, None, Some("\"\"")),
            (Some("\"abc\""), Some(OLD), Some("Sun, 06 Nov 1994 08:59:37 GMT"), Some("\"abc\"")),
            (Some("W/\"abc\""), None, None, None),
            (Some("abc"), None, None, None),
            (Some("\"a\"b\""), None, None, None),
            (Some("\"a\", \"b\""), None, None, None),
            (Some("\"a\r\nb\""), None, None, None),
            (Some("\"\u{e4}\""), None, None, None),
            (Some("\""), None, None, None),
            (Some("W/\"abc\""), Some(OLD), Some("Sun, 06 Nov 1994 08:50:37 GMT"), Some(OLD)),
            (None, Some(OLD), Some("Sun, 06 Nov 1994 08:50:37 GMT"), Some(OLD)),
            (None, Some(OLD), Some("Sun, 06 Nov 1994 08:50:36 GMT"), None),
            (None, Some(OLD), Some("Sun, 06 Nov 1994 08:00:00 GMT"), None),
            (None, Some(OLD), None, None),
            (None, Some("yesterday"), Some(OLD), None),
            (None, None, Some(OLD), None),
        ] {
            let validator = Validator::of(entity_headers(tag, modified), answered);
            assert_eq!(validator.as_ref().map(Validator::if_range), if_range, "{tag:?} {modified:?} {answered:?}");
        }
    }

    #[test]
    fn marks_longer_than_8_kib_are_no_validator() {
        let tag = |length| format!("\"{}\"", "x".repeat(length - 2));
        let longest = LONGEST - "http://h/x".len();
        assert!(Validator::of(entity_headers(Some(&tag(longest)), None), None).is_some());
        assert!(Validator::of(entity_headers(Some(&tag(longest + 1)), None), None).is_none());
        let modified = format!("{OLD}{}", ", Thu".repeat(2000));
        assert!(Validator::of(entity_headers(Some("\"a\""), Some(&modified)), None).is_none());
    }

    #[test]
    fn what_is_not_said_agrees_and_what_is_said_must_be_the_same() {
        let later = "Sun, 06 Nov 1994 08:49:38 GMT";
        let validator = Validator::of(entity_headers(Some("\"a\""), Some(OLD)), None).unwrap();
        for (etag, modified, agrees) in [
            (None, None, true),
            (Some("\"a\""), Some(OLD), true),
            (Some("\"b\""), None, false),
            (Some("W/\"a\""), None, false),
            (Some("\"a\", \"b\""), None, false),
            (Some("\u{fffd}"), None, false),
            (None, Some(later), false),
        ] {
            assert_eq!(validator.agrees_with(&entity_headers(etag, modified)), agrees, "{etag:?} {modified:?}");
        }
        let gzip = EntityHeaders { content_encoding: Some("gzip".to_owned()), ..entity_headers(None, None) };
        let elsewhere = EntityHeaders { effective_url: "http://h/y".to_owned(), ..entity_headers(None, None) };
        assert!(!validator.agrees_with(&gzip) && !validator.agrees_with(&elsewhere));
    }

    proptest! {
        #[test]
        fn no_headers_make_it_panic(etag in "(?s)(W/)?\"?.{0,20}\"?", modified in "(?s).{0,40}", date in "(?s).{0,40}") {
            if let Some(validator) = Validator::of(entity_headers(Some(&etag), Some(&modified)), Some(&date)) {
                prop_assert!(validator.if_range().bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            }
        }
    }
}
