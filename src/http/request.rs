//! Describes a request, and checks whether a response's headers satisfy it. Pure: `client` sends the request, and
//! `response` reads the body.

use std::time::{Duration, SystemTime};

use reqwest::header::{self, HeaderMap};

use super::content_range::ContentRange;
use super::headers::{content_range, entity_headers};
use super::validator::{EntityHeaders, Validator};
use crate::options::Header;
use crate::url::WebUrl;

/// A request for a file, or for the rest of it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The URL given by the user.
    pub url: &'a WebUrl,
    /// Whether the user's headers for every URL are sent as well; mirrors elsewhere do not get them.
    pub sends_common_headers: bool,
    /// Headers for this source, sent only to the origin of `url`. They replace global headers of the same name.
    pub headers: &'a [Header],
    /// The URL that responded to an earlier request, if it is known. It is requested first, without the redirects that
    /// led there.
    pub effective_url: Option<&'a WebUrl>,
    /// The conditions under which the server should send the file, or part of it.
    pub conditions: Conditions<'a>,
}

/// The conditions of a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions<'a> {
    /// Request only this range, if the file is still the same.
    pub range: Option<RangeRequest<'a>>,
    /// Request nothing if the file has not changed since then (RFC 9110, section 13.1.3).
    pub changed_since: Option<SystemTime>,
}

/// A range of a file, and what proves that a response belongs to the same file.
#[derive(Debug, Clone, Copy)]
pub struct RangeRequest<'a> {
    /// The offset of the first byte.
    pub from: u64,
    /// The offset after the last byte; `None` for the rest of the file.
    pub to: Option<u64>,
    /// The validator of the first response.
    pub validator: &'a Validator,
    /// The file's length, if the first response gave it.
    pub length: Option<u64>,
}

/// The range of an accepted 206. It starts at the requested offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedRange {
    /// The offset after the last byte. A server may send less than was requested (RFC 9110, section 15.3.7).
    pub end: u64,
    /// The length of the whole file.
    pub file_length: u64,
}

impl Conditions<'_> {
    /// Returns the value of an `If-Modified-Since` header; `None` also for a time that no header can express.
    pub(super) fn if_modified_since(&self) -> Option<String> {
        /// The first second of the year 10000. The year of an HTTP date has four digits (RFC 9110, section 5.6.7).
        const END: Duration = Duration::from_secs(253_402_300_800);
        let time = self.changed_since?;
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        (since_epoch < END).then(|| httpdate::fmt_http_date(time))
    }

    /// Whether a 200 has the modification time `changed_since`, because the server ignored the condition. An older time
    /// is a change too: an earlier version of the file may have been restored.
    pub(super) fn is_unchanged(&self, last_modified: Option<SystemTime>) -> bool {
        match (self.changed_since, last_modified) {
            (Some(time), Some(modified)) => whole_seconds(modified) == whole_seconds(time),
            _ => false,
        }
    }
}

/// Rounds a time down to the precision of an HTTP date.
fn whole_seconds(time: SystemTime) -> Option<u64> {
    Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
}

impl RangeRequest<'_> {
    /// Returns the value of a `Range` header (RFC 9110, section 14.2).
    pub(super) fn range_header(&self) -> String {
        match self.to {
            None => format!("bytes={}-", self.from),
            Some(to) => format!("bytes={}-{}", self.from, to.saturating_sub(1)),
        }
    }

    /// Whether a 200 is certainly the whole file: it repeats the validator, and its body has the known length.
    pub(super) fn is_whole_file(&self, body_length: Option<u64>, entity_headers: &EntityHeaders) -> bool {
        self.length.is_some() && body_length == self.length && self.validator.is_repeated_in(entity_headers)
    }

    /// Judges a 206: returns its range, or the reason why it cannot be used.
    pub(super) fn judge_part(
        &self,
        headers: &HeaderMap,
        effective_url: &WebUrl,
        body_length: Option<u64>,
    ) -> Result<AcceptedRange, &'static str> {
        let Some(ContentRange::Satisfied { first, last, total }) = content_range(headers) else {
            return Err("it has no valid Content-Range");
        };
        let file_length = match (total, self.length) {
            (Some(total), Some(length)) if total != length => return Err("the file's length has changed"),
            (Some(total), _) => total,
            (None, Some(length)) if last < length => length,
            (None, _) => return Err("it does not say how long the file is"),
        };
        if first != self.from {
            return Err("it starts at a different offset");
        }
        if self.to.is_some_and(|to| last >= to) {
            return Err("it ends beyond the requested range");
        }
        if body_length.is_some_and(|length| length != last + 1 - first) {
            return Err("its Content-Length contradicts its Content-Range");
        }
        let entity_headers = entity_headers(headers, effective_url);
        if !self.validator.is_consistent_with(&entity_headers) {
            return Err("its ETag, Last-Modified, Content-Encoding or URL has changed");
        }
        // A server that ignores If-Range may send a range of the file as it is now. Without the validator, which a 206
        // must repeat (RFC 9110, section 15.3.7), nothing proves that the file is still the same.
        if !self.validator.is_repeated_in(&entity_headers) {
            return Err("it does not repeat the file's validator");
        }
        Ok(AcceptedRange { end: last + 1, file_length })
    }

    /// Judges a 416: `Ok` if the file ends where the requested rest would start, and so is already complete.
    pub(super) fn judge_unsatisfied(&self, headers: &HeaderMap, effective_url: &WebUrl) -> Result<(), &'static str> {
        // A 416 has no content of the file, and so no Content-Encoding.
        let content_encoding = self.validator.content_encoding();
        let entity_headers = EntityHeaders { content_encoding, ..entity_headers(headers, effective_url) };
        // Many servers omit the validator from a 416. It is required only if the length is unknown.
        let is_length_proven = match self.length {
            Some(length) => length == self.from,
            None => self.validator.is_repeated_in(&entity_headers),
        };
        let is_complete = self.to.is_none()
            && content_range(headers) == Some(ContentRange::Unsatisfied { total: self.from })
            && is_length_proven
            && self.validator.is_consistent_with(&entity_headers);
        if is_complete { Ok(()) } else { Err("the file has no such range") }
    }
}

/// Judges a 200. If it has a `Content-Range`, that must be the whole file.
pub(super) fn judge_whole(headers: &HeaderMap, body_length: Option<u64>) -> Result<(), &'static str> {
    if !headers.contains_key(header::CONTENT_RANGE) {
        return Ok(());
    }
    match content_range(headers) {
        Some(ContentRange::Satisfied { first: 0, last, total: Some(total) })
            if last + 1 == total && body_length.is_none_or(|length| length == total) =>
        {
            Ok(())
        }
        _ => Err("it is a 200 with a Content-Range that is not the whole file"),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    const URL: &str = "http://h/file";
    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const ETAG: (&str, &str) = ("etag", "\"a\"");

    fn url(text: &str) -> WebUrl {
        WebUrl::parse(text).unwrap()
    }

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers.iter().map(header) {
            map.append(name, value);
        }
        map
    }

    /// Returns the validator of a response with these headers.
    fn validator(headers: &[(&str, &str)]) -> Validator {
        super::super::headers::validator(&map(headers), &url(URL)).unwrap()
    }

    fn dated() -> Validator {
        validator(&[("last-modified", OLD), ("date", "Mon, 07 Nov 1994 08:49:37 GMT")])
    }

    /// A `Content-Range` of bytes 10 to 19, with these headers after it.
    fn ten_of_100<'a>(headers: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        [&[("content-range", "bytes 10-19/100")][..], headers].concat()
    }

    #[test]
    fn a_206_is_accepted_only_as_the_requested_range_of_the_same_file() {
        const NO_RANGE: Result<(u64, u64), &str> = Err("it has no valid Content-Range");
        const OTHER_LENGTH: Result<(u64, u64), &str> = Err("the file's length has changed");
        const UNKNOWN_LENGTH: Result<(u64, u64), &str> = Err("it does not say how long the file is");
        const OTHER_START: Result<(u64, u64), &str> = Err("it starts at a different offset");
        const OTHER_END: Result<(u64, u64), &str> = Err("it ends beyond the requested range");
        const OTHER_BODY: Result<(u64, u64), &str> = Err("its Content-Length contradicts its Content-Range");

        let validator = validator(&[ETAG]);
        let bounded = RangeRequest { from: 10, to: Some(20), validator: &validator, length: Some(100) };
        let rest = RangeRequest { to: None, ..bounded };
        let rest_of_unknown = RangeRequest { length: None, ..rest };
        for (request, content_range, body_length, expected) in [
            (bounded, "bytes 10-19/100", Some(10), Ok((20, 100))),
            (bounded, "bytes 10-19/100", None, Ok((20, 100))),
            (bounded, "bytes 10-19/*", Some(10), Ok((20, 100))),
            (bounded, "bytes 10-10/100", Some(1), Ok((11, 100))),
            (bounded, "bytes 10-18/100", Some(9), Ok((19, 100))),
            (rest, "bytes 10-99/100", Some(90), Ok((100, 100))),
            (rest, "bytes 10-50/100", Some(41), Ok((51, 100))),
            (rest, "bytes 10-99/*", Some(90), Ok((100, 100))),
            (rest_of_unknown, "bytes 10-99/100", Some(90), Ok((100, 100))),
            (rest_of_unknown, "bytes 10-99/*", Some(90), UNKNOWN_LENGTH),
            (rest, "bytes 10-100/*", Some(91), UNKNOWN_LENGTH),
            (bounded, "bytes 10-19/101", Some(10), OTHER_LENGTH),
            (bounded, "bytes 10-19/20", Some(10), OTHER_LENGTH),
            (bounded, "bytes 9-19/100", Some(11), OTHER_START),
            (bounded, "bytes 11-19/100", Some(9), OTHER_START),
            (bounded, "bytes 0-9/100", Some(10), OTHER_START),
            (bounded, "bytes 10-20/100", Some(11), OTHER_END),
            (bounded, "bytes 10-99/100", Some(90), OTHER_END),
            (bounded, "bytes 10-19/100", Some(9), OTHER_BODY),
            (bounded, "bytes 10-19/100", Some(11), OTHER_BODY),
            (bounded, "bytes 10-19/100", Some(0), OTHER_BODY),
            (rest, "bytes 10-100/100", Some(91), NO_RANGE),
            (bounded, "bytes 19-10/100", Some(10), NO_RANGE),
            (bounded, "bytes */100", Some(10), NO_RANGE),
            (bounded, "items 10-19/100", Some(10), NO_RANGE),
            (bounded, "bytes 10-19", Some(10), NO_RANGE),
            (bounded, "", Some(10), NO_RANGE),
        ] {
            let headers = map(&[("content-range", content_range), ETAG]);
            let judged = request.judge_part(&headers, &url(URL), body_length);
            let range = judged.map(|AcceptedRange { end, file_length }| (end, file_length));
            assert_eq!(range, expected, "{content_range}, {body_length:?}");
        }
        let twice = map(&ten_of_100(&[("content-range", "bytes 10-19/100"), ETAG]));
        for headers in [map(&[ETAG]), twice] {
            assert_eq!(bounded.judge_part(&headers, &url(URL), Some(10)).unwrap_err(), NO_RANGE.unwrap_err());
        }
    }

    #[test]
    fn a_206_is_accepted_only_if_it_repeats_the_validator_and_contradicts_nothing() {
        const CONTRADICTED: Result<(), &str> = Err("its ETag, Last-Modified, Content-Encoding or URL has changed");
        const UNPROVEN: Result<(), &str> = Err("it does not repeat the file's validator");

        let (tagged, dated) = (validator(&[ETAG, ("last-modified", OLD)]), dated());
        let encoded = validator(&[ETAG, ("content-encoding", "gzip")]);
        for (validator, headers, effective_url, expected) in [
            (&tagged, &[ETAG][..], URL, Ok(())),
            (&tagged, &[ETAG, ("last-modified", OLD)], URL, Ok(())),
            (&tagged, &[ETAG], "http://user:secret@h/file", Ok(())),
            (&tagged, &[ETAG], "http://h/file?sig=x&sv=1", Ok(())),
            (&tagged, &[], URL, UNPROVEN),
            (&tagged, &[("last-modified", OLD)], URL, UNPROVEN),
            (&tagged, &[("etag", "\"b\"")], URL, CONTRADICTED),
            (&tagged, &[("etag", "W/\"a\"")], URL, CONTRADICTED),
            (&tagged, &[("etag", "a")], URL, CONTRADICTED),
            (&tagged, &[ETAG, ETAG], URL, CONTRADICTED),
            (&tagged, &[ETAG, ("last-modified", LATER)], URL, CONTRADICTED),
            (&tagged, &[ETAG, ("content-encoding", "gzip")], URL, CONTRADICTED),
            (&tagged, &[ETAG], "http://h/other", CONTRADICTED),
            (&tagged, &[ETAG], "http://other/file", CONTRADICTED),
            (&tagged, &[ETAG], "http://h/file?version=2", CONTRADICTED),
            (&dated, &[("last-modified", OLD)], URL, Ok(())),
            (&dated, &[("last-modified", OLD), ETAG], URL, Ok(())),
            (&dated, &[ETAG], URL, UNPROVEN),
            (&dated, &[], URL, UNPROVEN),
            (&dated, &[("last-modified", LATER)], URL, CONTRADICTED),
            (&encoded, &[ETAG, ("content-encoding", "gzip")], URL, Ok(())),
            (&encoded, &[ETAG, ("content-encoding", "br")], URL, CONTRADICTED),
            (&encoded, &[ETAG], URL, CONTRADICTED),
        ] {
            let request = RangeRequest { from: 10, to: Some(20), validator, length: Some(100) };
            let judged = request.judge_part(&map(&ten_of_100(headers)), &url(effective_url), Some(10));
            assert_eq!(judged.map(drop), expected, "{headers:?} from {effective_url}");
        }
    }

    #[test]
    fn a_416_means_complete_only_if_the_file_ends_where_the_rest_begins() {
        let (tagged, dated) = (validator(&[ETAG]), dated());
        let encoded = validator(&[ETAG, ("content-encoding", "gzip")]);
        let rest = RangeRequest { from: 100, to: None, validator: &tagged, length: Some(100) };
        let rest_of_unknown = RangeRequest { length: None, ..rest };
        let other = ("etag", "\"b\"");
        for (request, content_range, headers, is_complete) in [
            (rest, "bytes */100", &[][..], true),
            (rest, "bytes */100", &[ETAG], true),
            (RangeRequest { validator: &encoded, ..rest }, "bytes */100", &[], true),
            (rest_of_unknown, "bytes */100", &[ETAG], true),
            (RangeRequest { validator: &dated, ..rest_of_unknown }, "bytes */100", &[("last-modified", OLD)], true),
            (rest_of_unknown, "bytes */100", &[], false),
            (RangeRequest { validator: &dated, ..rest_of_unknown }, "bytes */100", &[], false),
            (rest_of_unknown, "bytes */100", &[other], false),
            (rest, "bytes */100", &[other], false),
            (rest, "bytes */100", &[("etag", "W/\"a\"")], false),
            (rest, "bytes */99", &[ETAG], false),
            (rest, "bytes */101", &[ETAG], false),
            (rest_of_unknown, "bytes */99", &[ETAG], false),
            (RangeRequest { length: Some(200), ..rest }, "bytes */100", &[ETAG], false),
            (RangeRequest { to: Some(101), ..rest }, "bytes */100", &[ETAG], false),
            (rest, "bytes 0-99/100", &[ETAG], false),
            (rest, "bytes */*", &[ETAG], false),
            (rest, "", &[ETAG], false),
            (rest, "bytes */100", &[("content-range", "bytes */100")], false),
        ] {
            let headers = map(&[&[("content-range", content_range)], headers].concat());
            let expected = if is_complete { Ok(()) } else { Err("the file has no such range") };
            assert_eq!(request.judge_unsatisfied(&headers, &url(URL)), expected, "{headers:?} to {request:?}");
        }
        assert!(rest.judge_unsatisfied(&map(&[ETAG]), &url(URL)).is_err());
        assert!(rest.judge_unsatisfied(&map(&[("content-range", "bytes */100")]), &url("http://h/other")).is_err());
    }

    #[test]
    fn a_200_with_a_content_range_is_whole_only_if_the_range_is() {
        const PARTIAL: Result<(), &str> = Err("it is a 200 with a Content-Range that is not the whole file");
        for (content_range, body_length, expected) in [
            (None, Some(100), Ok(())),
            (None, None, Ok(())),
            (Some("bytes 0-99/100"), Some(100), Ok(())),
            (Some("bytes 0-99/100"), None, Ok(())),
            (Some("bytes 0-99/100"), Some(99), PARTIAL),
            (Some("bytes 0-98/100"), Some(99), PARTIAL),
            (Some("bytes 1-99/100"), Some(99), PARTIAL),
            (Some("bytes 0-99/*"), Some(100), PARTIAL),
            (Some("bytes */100"), Some(100), PARTIAL),
            (Some("bytes"), Some(100), PARTIAL),
        ] {
            let headers = map(content_range.map(|value| ("content-range", value)).as_slice());
            assert_eq!(judge_whole(&headers, body_length), expected, "{content_range:?}, {body_length:?}");
        }
    }

    #[test]
    fn a_200_to_a_range_request_is_whole_only_with_the_known_length_and_validator() {
        let validator = validator(&[ETAG]);
        for (length, body_length, etag, is_whole) in [
            (Some(100), Some(100), Some(ETAG), true),
            (Some(100), Some(90), Some(ETAG), false),
            (Some(100), None, Some(ETAG), false),
            (None, None, Some(ETAG), false),
            (Some(100), Some(100), None, false),
            (Some(100), Some(100), Some(("etag", "\"b\"")), false),
        ] {
            let request = RangeRequest { from: 10, to: None, validator: &validator, length };
            let entity_headers = entity_headers(&map(etag.as_slice()), &url(URL));
            assert_eq!(
                request.is_whole_file(body_length, &entity_headers),
                is_whole,
                "{length:?} {body_length:?} {etag:?}"
            );
        }
    }

    #[test]
    fn a_range_header_is_inclusive() {
        let validator = validator(&[ETAG]);
        for (from, to, value) in [(0, None, "bytes=0-"), (10, Some(20), "bytes=10-19"), (10, Some(11), "bytes=10-10")] {
            assert_eq!(RangeRequest { from, to, validator: &validator, length: None }.range_header(), value);
        }
    }

    #[test]
    fn only_the_same_second_is_unchanged() {
        let time = |milliseconds| Some(SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds));
        let conditions = Conditions { range: None, changed_since: time(5500) };
        for (modified, is_unchanged) in [(time(5000), true), (time(4999), false), (time(6000), false), (None, false)] {
            assert_eq!(conditions.is_unchanged(modified), is_unchanged, "{modified:?}");
        }
        assert!(!Conditions::default().is_unchanged(time(5000)));
    }

    #[test]
    fn a_time_that_no_header_can_express_is_omitted() {
        let value = |time| Conditions { range: None, changed_since: Some(time) }.if_modified_since();
        let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(value(time(784_111_777)).as_deref(), Some(OLD));
        assert!(value(time(253_402_300_799)).is_some());
        assert_eq!(value(time(253_402_300_800)), None);
        assert_eq!(value(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), None);
    }
}
