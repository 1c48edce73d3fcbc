//! Proves that two responses belong to the same file: by a strong `ETag`, or by a `Last-Modified` old enough to be
//! strong (RFC 9110, sections 8.8 and 13.1.5), if no other header contradicts it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A `Last-Modified` is strong if it is at least this much older than the `Date` (RFC 9110, section 8.8.2.2).
const MIN_AGE: Duration = Duration::from_secs(60);

/// Headers longer than this in total are not accepted as a validator. Servers limit all headers of a response to 8 or
/// 16 KiB, and a sidecar has to stay small enough to be distinguishable from a user's file.
const MAX_LENGTH: usize = 8 * 1024;

/// The headers of a response that describe the file, verbatim but for the file name, and the URL that sent them. Several
/// values of one header are joined, and bytes that are not UTF-8 become U+FFFD.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityHeaders {
    /// The `ETag`.
    pub etag: Option<String>,
    /// The `Last-Modified` date.
    pub last_modified: Option<String>,
    /// The `Content-Encoding`.
    #[serde(rename = "coding")]
    pub content_encoding: Option<String>,
    /// The name in its `Content-Disposition`. A 206 need not repeat that (RFC 9110, section 15.3.7).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// The [identity](crate::url::WebUrl::identity) of the URL that responded, after redirects: an `ETag` is unique
    /// only there.
    #[serde(rename = "place")]
    pub effective_url: String,
}

/// The headers of a response that include a strong validator. A sidecar stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validator {
    #[serde(rename = "marks")]
    headers: EntityHeaders,
    /// Whether the `Last-Modified` date is strong.
    #[serde(rename = "is_settled")]
    is_date_strong: bool,
}

impl EntityHeaders {
    fn length(&self) -> usize {
        let texts = [&self.etag, &self.last_modified, &self.content_encoding, &self.file_name];
        self.effective_url.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

impl Validator {
    /// Returns the validator of a response with these headers and this `Date`; `None` if neither the `ETag` nor the
    /// `Last-Modified` is strong, or if the headers are longer than 8 KiB in total.
    #[must_use]
    pub fn of(headers: EntityHeaders, date: Option<&str>) -> Option<Self> {
        let time = |text: &Option<String>| httpdate::parse_http_date(text.as_deref()?).ok();
        let age = || httpdate::parse_http_date(date?).ok()?.duration_since(time(&headers.last_modified)?).ok();
        let is_date_strong = age().is_some_and(|age| age >= MIN_AGE);
        Some(Self { headers, is_date_strong }).filter(Self::is_usable)
    }

    /// Whether this is a strong validator of acceptable length. One from a sidecar may be neither.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let is_date = |text: &String| httpdate::parse_http_date(text).is_ok() && text.is_ascii();
        let is_dated = self.is_date_strong && self.headers.last_modified.as_ref().is_some_and(is_date);
        self.headers.length() <= MAX_LENGTH && (self.strong_etag().is_some() || is_dated)
    }

    /// Returns the value of an `If-Range` header that makes a server send a range only if the file is still the same.
    #[must_use]
    pub fn if_range(&self) -> &str {
        self.strong_etag().or(self.headers.last_modified.as_deref()).unwrap_or_default()
    }

    /// Whether a later response's headers contradict none of the first response's. A missing `ETag` or Last-Modified is
    /// no conflict; a different or missing Content-Encoding, or a different URL, is. The file name proves nothing.
    #[must_use]
    pub fn is_consistent_with(&self, entity_headers: &EntityHeaders) -> bool {
        let is_consistent =
            |own: &Option<String>, other: &Option<String>| own.is_none() || other.is_none() || own == other;
        is_consistent(&self.headers.etag, &entity_headers.etag)
            && is_consistent(&self.headers.last_modified, &entity_headers.last_modified)
            && self.headers.content_encoding == entity_headers.content_encoding
            && self.headers.effective_url == entity_headers.effective_url
    }

    /// Whether a response's headers include the strong validator, as those of a 206 must (RFC 9110, section 15.3.7).
    #[must_use]
    pub fn is_repeated_in(&self, entity_headers: &EntityHeaders) -> bool {
        match self.strong_etag() {
            Some(etag) => entity_headers.etag.as_deref() == Some(etag),
            None => self.headers.last_modified == entity_headers.last_modified,
        }
    }

    /// The file's `Content-Encoding`.
    #[must_use]
    pub fn content_encoding(&self) -> Option<String> {
        self.headers.content_encoding.clone()
    }

    /// Returns the name that the server suggested for the file.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.headers.file_name.as_deref()
    }

    /// Returns the [identity](crate::url::WebUrl::identity) of the URL that responded, after redirects.
    #[must_use]
    pub fn effective_url(&self) -> &str {
        &self.headers.effective_url
    }

    fn strong_etag(&self) -> Option<&str> {
        self.headers.etag.as_deref().filter(|etag| is_strong(etag))
    }
}

/// Whether a value is a strong entity tag (RFC 9110, section 8.8.3), and a single one.
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
            file_name: None,
            effective_url: "http://h/x".to_owned(),
        }
    }

    #[test]
    fn only_strong_validators_are_accepted() {
        for (etag, last_modified, date, if_range) in [
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
            let validator = Validator::of(entity_headers(etag, last_modified), date);
            assert_eq!(validator.as_ref().map(Validator::if_range), if_range, "{etag:?} {last_modified:?} {date:?}");
        }
    }

    #[test]
    fn headers_longer_than_8_kib_are_not_a_validator() {
        let etag = |length| format!("\"{}\"", "x".repeat(length - 2));
        let longest = MAX_LENGTH - "http://h/x".len();
        assert!(Validator::of(entity_headers(Some(&etag(longest)), None), None).is_some());
        assert!(Validator::of(entity_headers(Some(&etag(longest + 1)), None), None).is_none());
        let modified = format!("{OLD}{}", ", Thu".repeat(2000));
        assert!(Validator::of(entity_headers(Some("\"a\""), Some(&modified)), None).is_none());
    }

    #[test]
    fn missing_headers_are_consistent_and_different_ones_are_not() {
        let later = "Sun, 06 Nov 1994 08:49:38 GMT";
        let validator = Validator::of(entity_headers(Some("\"a\""), Some(OLD)), None).unwrap();
        for (etag, last_modified, is_consistent) in [
            (None, None, true),
            (Some("\"a\""), Some(OLD), true),
            (Some("\"b\""), None, false),
            (Some("W/\"a\""), None, false),
            (Some("\"a\", \"b\""), None, false),
            (Some("\u{fffd}"), None, false),
            (None, Some(later), false),
        ] {
            assert_eq!(
                validator.is_consistent_with(&entity_headers(etag, last_modified)),
                is_consistent,
                "{etag:?} {last_modified:?}"
            );
        }
        let gzip = EntityHeaders { content_encoding: Some("gzip".to_owned()), ..entity_headers(None, None) };
        let elsewhere = EntityHeaders { effective_url: "http://h/y".to_owned(), ..entity_headers(None, None) };
        assert!(!validator.is_consistent_with(&gzip) && !validator.is_consistent_with(&elsewhere));
        let renamed = EntityHeaders { file_name: Some("x".to_owned()), ..entity_headers(None, None) };
        assert!(validator.is_consistent_with(&renamed));
    }

    proptest! {
        #[test]
        fn no_headers_cause_a_panic(
            etag in "(?s)(W/)?\"?.{0,20}\"?",
            modified in "(?s).{0,40}",
            date in "(?s).{0,40}",
        ) {
            if let Some(validator) = Validator::of(entity_headers(Some(&etag), Some(&modified)), Some(&date)) {
                prop_assert!(validator.if_range().bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            }
        }
    }
}
