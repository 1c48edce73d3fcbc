//! A response: what its headers say about the file, and its body, whose length is checked as it is read.

use std::time::{Duration, SystemTime};

use reqwest::header::{self, HeaderMap};

use super::exchange::RawResponse;
use super::request::{AcceptedRange, RangeRequest, judge_whole};
use super::timing::Timing;
use super::validator::{EntityHeaders, Validator};
use super::{failure, headers};
use crate::error::Error;
use crate::url::WebUrl;

/// The result of a request that succeeded.
#[derive(Debug)]
pub enum Reply<'a> {
    /// A body to read.
    Response(Box<Response<'a>>),
    /// Nothing is missing: the file ends where the requested rest would start.
    AlreadyComplete,
    /// The file has not changed since [`Conditions::changed_since`](super::Conditions::changed_since).
    NotModified,
}

impl<'a> From<Response<'a>> for Reply<'a> {
    fn from(response: Response<'a>) -> Self {
        Self::Response(Box::new(response))
    }
}

/// A 200, or a 206 with the range that was requested. The lifetime is that of the cancellation check, which
/// [`read`](Self::read) calls.
#[derive(Debug)]
pub struct Response<'a> {
    raw: RawResponse<'a>,
    framing: Framing,
    position: u64,
    range_end: Option<u64>,
    is_partial: bool,
    /// The URL that responded.
    effective_url: WebUrl,
    stall_timeout: Duration,
}

/// How the end of the file is determined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By the whole file's length in bytes: the `Content-Length` of a 200, or the total of a 206's range.
    Length(u64),
    /// By the last chunk of the body (RFC 9112, section 7.1).
    Chunked,
    /// By the close of the connection, so that a truncated body looks like a complete one.
    Close,
}

impl Framing {
    /// Whether a truncated body can be distinguished from a complete one.
    #[must_use]
    pub const fn detects_truncation(self) -> bool {
        !matches!(self, Self::Close)
    }

    /// The whole file's length, if the headers give it.
    #[must_use]
    pub const fn length(self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(length),
            Self::Chunked | Self::Close => None,
        }
    }

    /// Reads the framing from the headers. A transfer coding that was not requested, or one combined with a length, is
    /// refused (RFC 9112, sections 6.1 and 6.3): server and client could disagree about which bytes are the body.
    fn from_headers(headers: &HeaderMap, content_length: Option<u64>) -> Result<Self, Error> {
        let codings: Vec<_> = headers.get_all(header::TRANSFER_ENCODING).iter().collect();
        let has_length = headers.contains_key(header::CONTENT_LENGTH);
        match (codings.as_slice(), content_length) {
            ([], Some(length)) => Ok(Self::Length(length)),
            ([], None) => Ok(Self::Close),
            ([_, ..], _) if has_length => {
                Err(Error::Protocol("a Transfer-Encoding together with a Content-Length".into()))
            }
            ([coding], _) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(Self::Chunked),
            ([_, ..], _) => Err(Error::Protocol("a Transfer-Encoding that was not requested".into())),
        }
    }
}

impl<'a> Response<'a> {
    /// Accepts a 200 from `effective_url`, unless its headers contradict its status.
    pub(super) fn from_whole(
        raw: RawResponse<'a>,
        effective_url: &WebUrl,
        stall_timeout: Duration,
    ) -> Result<Self, Error> {
        let (framing, range_end) =
            (Framing::from_headers(&raw.head.headers, raw.head.content_length)?, raw.head.content_length);
        judge_whole(&raw.head.headers, range_end).map_err(Error::Range)?;
        let effective_url = effective_url.clone();
        Ok(Self { raw, framing, position: 0, range_end, is_partial: false, effective_url, stall_timeout })
    }

    /// Accepts a 206 from `effective_url`, if it is the requested range of the same file.
    pub(super) fn from_partial(
        raw: RawResponse<'a>,
        effective_url: &WebUrl,
        range: &RangeRequest<'_>,
        stall_timeout: Duration,
    ) -> Result<Self, Error> {
        Framing::from_headers(&raw.head.headers, raw.head.content_length)?;
        let accepted = range.judge_part(&raw.head.headers, effective_url, raw.head.content_length);
        let AcceptedRange { end, file_length } = accepted.map_err(Error::Range)?;
        Ok(Self {
            raw,
            framing: Framing::Length(file_length),
            position: range.from,
            range_end: Some(end),
            is_partial: true,
            effective_url: effective_url.clone(),
            stall_timeout,
        })
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.raw.head.status.as_u16()
    }

    /// How the end of the file is determined.
    #[must_use]
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether this is the requested range, rather than the whole file.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// The offset in the file of the body's next byte.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The offset in the file after the body's last byte, if the headers give it.
    #[must_use]
    pub const fn range_end(&self) -> Option<u64> {
        self.range_end
    }

    /// Whether the body was read up to the end given by the headers.
    #[must_use]
    pub fn is_fully_read(&self) -> bool {
        self.range_end == Some(self.position)
    }

    /// The URL that responded, unless it is `requested` itself.
    #[must_use]
    pub fn effective_url_unless(&self, requested: &WebUrl) -> Option<WebUrl> {
        Some(&self.effective_url).filter(|effective_url| *effective_url != requested).cloned()
    }

    /// The URL that responded, after redirects.
    #[must_use]
    pub const fn effective_url(&self) -> &WebUrl {
        &self.effective_url
    }

    /// The file name that the server suggests (`Content-Disposition`), without directories.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        headers::file_name(&self.raw.head.headers)
    }

    /// The body's `Content-Encoding`, if the server applied one although none was accepted.
    #[must_use]
    pub fn content_encoding(&self) -> Option<String> {
        headers::content_encoding(&self.raw.head.headers)
    }

    /// Whether the server may serve ranges: it does not say that it never does (RFC 9110, section 14.3).
    #[must_use]
    pub fn allows_ranges(&self) -> bool {
        headers::header_text(&self.raw.head.headers, &header::ACCEPT_RANGES)
            .is_none_or(|unit| !unit.trim().eq_ignore_ascii_case("none"))
    }

    /// The validator for later range requests, if there is a strong one.
    #[must_use]
    pub fn validator(&self) -> Option<Validator> {
        headers::validator(&self.raw.head.headers, &self.effective_url)
    }

    /// The `Last-Modified` date (RFC 9110, section 8.8.2), to the second.
    #[must_use]
    pub fn last_modified(&self) -> Option<SystemTime> {
        headers::last_modified(&self.raw.head.headers)
    }

    /// The headers that describe the file.
    pub(super) fn entity_headers(&self) -> EntityHeaders {
        headers::entity_headers(&self.raw.head.headers, &self.effective_url)
    }

    /// How long it took.
    #[must_use]
    pub const fn timing(&self) -> Timing {
        self.raw.head.timing
    }

    /// Waits for something to read, for at most `patience`. Returns whether there is something, if only the end.
    #[must_use]
    pub fn wait_for_more(&self, patience: Duration) -> bool {
        self.raw.wait_for_more(patience)
    }

    /// Reads the next bytes of the body; 0 at its end.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`], within 100 ms of the cancellation if no data arrives; a stall; a broken connection; or a
    /// body shorter or longer than the headers say.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let count = self
            .raw
            .read(buffer)
            .map_err(|error| failure::classify_body(error, self.position, self.range_end, self.stall_timeout))?;
        self.position += count as u64;
        match self.range_end {
            Some(end) if self.position > end => Err(Error::Range("it is longer than its range")),
            Some(end) if count == 0 && self.position != end => {
                Err(Error::Truncated { received: self.position, expected: end })
            }
            _ => Ok(count),
        }
    }
}
