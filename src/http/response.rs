//! An answer: what it says of the file that it holds, and its body, to be read to an end that is checked.

use std::time::{Duration, SystemTime};

use reqwest::header::{self, HeaderMap, HeaderName};

use super::content_range::ContentRange;
use super::exchange::RawResponse;
use super::failure;
use super::request::RangeRequest;
use super::validator::{EntityHeaders, Validator};
use crate::error::Error;
use crate::url::WebUrl;

/// An answer of status 200, or a 206 that is the very part that was asked for; its body is still to be read.
#[derive(Debug)]
pub struct Response {
    response: RawResponse,
    framing: Framing,
    /// The place in the file of the next byte.
    position: u64,
    /// The place after the body's last byte, where it was announced.
    range_end: Option<u64>,
    is_part: bool,
    /// The URL that answered.
    effective_url: WebUrl,
    stall_timeout: Duration,
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By the length of the file that was announced.
    Length(u64),
    /// By the last chunk (RFC 9112, section 7.1).
    Chunked,
    /// By the close of the connection, so that a body cut short looks like a whole one.
    Close,
}

impl Framing {
    /// Whether a body cut short can be told from a whole one.
    #[must_use]
    pub const fn detects_truncation(self) -> bool {
        !matches!(self, Self::Close)
    }

    /// The announced length, where there is one.
    #[must_use]
    pub const fn length(self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(length),
            Self::Chunked | Self::Close => None,
        }
    }
}

impl Framing {
    /// Reads what the headers say. A server that sends a transfer coding that was not asked for, or a length beside one,
    /// does not say what the client reads (RFC 9112, sections 6.1 and 6.3), so that its bytes could be taken for others.
    fn of(response: &RawResponse) -> Result<Self, Error> {
        let codings: Vec<_> = response.headers.get_all(header::TRANSFER_ENCODING).iter().collect();
        let has_length = response.headers.contains_key(header::CONTENT_LENGTH);
        match (codings.as_slice(), response.content_length) {
            ([], Some(length)) => Ok(Self::Length(length)),
            ([], None) => Ok(Self::Close),
            ([_, ..], _) if has_length => Err(Error::Protocol("a Transfer-Encoding beside a Content-Length".into())),
            ([content_encoding], _) if content_encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => {
                Ok(Self::Chunked)
            }
            ([_, ..], _) => Err(Error::Protocol("a transfer content_encoding that was not asked for".into())),
        }
    }
}

impl Response {
    pub(super) fn whole(response: RawResponse, effective_url: &WebUrl, stall_timeout: Duration) -> Result<Self, Error> {
        let (framing, length) = (Framing::of(&response)?, response.content_length);
        judge_whole(&response.headers, length)?;
        Ok(Self {
            response,
            framing,
            position: 0,
            range_end: length,
            is_part: false,
            effective_url: effective_url.clone(),
            stall_timeout,
        })
    }

    pub(super) fn part(
        response: RawResponse,
        effective_url: &WebUrl,
        resume: &RangeRequest<'_>,
        stall_timeout: Duration,
    ) -> Result<Self, Error> {
        Framing::of(&response)?;
        let part = resume.judge_part(&response.headers, effective_url, response.content_length);
        let (end, total) = part.map_err(Error::Range)?;
        Ok(Self {
            response,
            framing: Framing::Length(total),
            position: resume.from,
            range_end: Some(end),
            is_part: true,
            effective_url: effective_url.clone(),
            stall_timeout,
        })
    }

    /// Whether the answer itself names the file that `validator` is of.
    pub(super) fn is_confirmed_by(&self, validator: &Validator) -> bool {
        validator.is_confirmed_by(&entity_headers(&self.response.headers, &self.effective_url))
    }

    /// The URL that answered, where redirects led there from `asked`.
    #[must_use]
    pub fn redirect_target(&self, asked: &WebUrl) -> Option<WebUrl> {
        Some(&self.effective_url).filter(|effective_url| *effective_url != asked).cloned()
    }

    /// How the body is encoded, where the server encoded it although it was asked not to.
    #[must_use]
    pub fn content_encoding(&self) -> Option<String> {
        content_encoding(&self.response.headers)
    }

    /// How the end of the file will be known.
    #[must_use]
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether this is the part that was asked for, and not the whole file.
    #[must_use]
    pub const fn is_part(&self) -> bool {
        self.is_part
    }

    /// The place in the file of the body's next byte.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The place in the file after the body's last byte, where it was announced.
    #[must_use]
    pub const fn range_end(&self) -> Option<u64> {
        self.range_end
    }

    /// Whether the whole body was read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.range_end == Some(self.position)
    }

    /// Whether the server may give parts of the file: it does not say that it never does (RFC 9110, section 14.3).
    #[must_use]
    pub fn allows_ranges(&self) -> bool {
        text_of(&self.response.headers, &header::ACCEPT_RANGES)
            .is_none_or(|unit| !unit.trim().eq_ignore_ascii_case("none"))
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status.as_u16()
    }

    /// What the file can be known by when a part of it is asked for.
    #[must_use]
    pub fn validator(&self) -> Option<Validator> {
        validator(&self.response.headers, &self.effective_url)
    }

    /// When the server says that the file was changed last (RFC 9110, section 8.8.2), to the second.
    #[must_use]
    pub fn last_modified(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(text_of(&self.response.headers, &header::LAST_MODIFIED)?).ok()
    }

    /// Reads the next bytes of the body; 0 at its end.
    ///
    /// # Errors
    ///
    /// A stall, or an end before the announced one.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let count = self
            .response
            .read(buffer)
            .map_err(|failed| failure::of_body(failed, self.position, self.range_end, self.stall_timeout))?;
        self.position += count as u64;
        if self.range_end.is_some_and(|range_end| self.position > range_end) {
            return Err(Error::Range("it is longer than its range"));
        }
        match self.range_end {
            Some(expected) if count == 0 && self.position != expected => {
                Err(Error::Truncated { received: self.position, expected })
            }
            _ => Ok(count),
        }
    }
}

/// Whether a 200 is of the whole file, as far as it says itself.
fn judge_whole(headers: &HeaderMap, length: Option<u64>) -> Result<(), Error> {
    let is_all = |range| match range {
        ContentRange::Part { first: 0, last, total: Some(total) } => {
            last + 1 == total && length.is_none_or(|length| length == total)
        }
        _ => false,
    };
    if headers.contains_key(header::CONTENT_RANGE) && !content_range(headers).is_some_and(is_all) {
        return Err(Error::Range("it has a Content-Range, and calls itself the whole file"));
    }
    Ok(())
}

/// The range that an answer says it has, if it says one and no more.
pub(super) fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let mut values = headers.get_all(header::CONTENT_RANGE).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    ContentRange::parse(value.to_str().ok()?)
}

/// The `Content-Encoding`, unless it says that there is none.
fn content_encoding(headers: &HeaderMap) -> Option<String> {
    /// Nobody reads a longer one.
    const LONGEST: usize = 80;

    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let values =
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect::<Vec<_>>().join(",");
    let codings = values.split(',').map(str::trim);
    let codings: Vec<_> = codings
        .filter(|content_encoding| !content_encoding.is_empty() && !content_encoding.eq_ignore_ascii_case("identity"))
        .collect();
    (!codings.is_empty()).then(|| codings.join(", ").chars().take(LONGEST).collect())
}

/// What an answer from `place` says of its file.
pub(super) fn entity_headers(headers: &HeaderMap, effective_url: &WebUrl) -> EntityHeaders {
    let joined = |name| {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        (!values.is_empty()).then(|| values.join(", "))
    };
    EntityHeaders {
        etag: joined(header::ETAG),
        last_modified: joined(header::LAST_MODIFIED),
        content_encoding: joined(header::CONTENT_ENCODING),
        effective_url: effective_url.identity(),
    }
}

pub(super) fn validator(headers: &HeaderMap, effective_url: &WebUrl) -> Option<Validator> {
    Validator::of(entity_headers(headers, effective_url), text_of(headers, &header::DATE))
}

pub(super) fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
