//! Reads typed values from a response's headers, and converts the user's headers for a request.

use std::time::SystemTime;

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::content_disposition::parse_file_name;
use super::content_range::ContentRange;
use super::validator::{EntityHeaders, Validator};
use crate::options::Header;
use crate::url::WebUrl;

/// A longer file name is not remembered for a resume. No file system allows names as long as this.
const MAX_FILE_NAME: usize = 1024;

/// The maximum length of a `Content-Encoding` in characters. A longer one is truncated; it is only displayed.
const MAX_CONTENT_ENCODING: usize = 80;

/// The first value of a header, if it is visible ASCII.
pub fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The `Content-Range`, if there is exactly one and it is valid.
pub fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let mut values = headers.get_all(header::CONTENT_RANGE).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    ContentRange::parse(value.to_str().ok()?)
}

/// The file name that the server suggests (`Content-Disposition`). Of several headers, all must be the same.
pub fn file_name(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(header::CONTENT_DISPOSITION).iter();
    let value = values.next()?;
    values.all(|other| other == value).then(|| parse_file_name(value.as_bytes())).flatten()
}

/// The `Content-Encoding`, without `identity`, which means no encoding.
pub fn content_encoding(headers: &HeaderMap) -> Option<String> {
    let value = joined(headers, &header::CONTENT_ENCODING, ",")?;
    let codings = value.split(',').map(str::trim);
    let codings: Vec<_> =
        codings.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity")).collect();
    (!codings.is_empty()).then(|| codings.join(", ").chars().take(MAX_CONTENT_ENCODING).collect())
}

/// The `Last-Modified` date.
pub fn last_modified(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(header_text(headers, &header::LAST_MODIFIED)?).ok()
}

/// The headers that describe the file in a response from `effective_url`.
pub fn entity_headers(headers: &HeaderMap, effective_url: &WebUrl) -> EntityHeaders {
    EntityHeaders {
        etag: joined(headers, &header::ETAG, ", "),
        last_modified: joined(headers, &header::LAST_MODIFIED, ", "),
        content_encoding: joined(headers, &header::CONTENT_ENCODING, ", "),
        file_name: file_name(headers).filter(|name| name.len() <= MAX_FILE_NAME),
        effective_url: effective_url.identity(),
    }
}

/// The validator of a response from `effective_url`, if it has a strong one.
pub fn validator(headers: &HeaderMap, effective_url: &WebUrl) -> Option<Validator> {
    Validator::of(entity_headers(headers, effective_url), header_text(headers, &header::DATE))
}

/// Converts the user's headers to reqwest's type. [`Header::parse`] accepts nothing that reqwest refuses, so none is
/// dropped.
pub fn header_map(headers: &[Header]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for header in headers {
        let name = HeaderName::from_bytes(header.name().as_bytes());
        let value = HeaderValue::from_bytes(header.value().as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    map
}

/// Joins all values of a header; `None` if there are none.
fn joined(headers: &HeaderMap, name: &HeaderName, separator: &str) -> Option<String> {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    (!values.is_empty()).then(|| values.join(separator))
}
