//! Asking only for what is needed, and judging whether what came is that.

use std::time::SystemTime;

use reqwest::header::HeaderMap;

use super::content_range::ContentRange;
use super::response::{Response, content_range, entity_headers};
use super::validator::{EntityHeaders, Validator};
use crate::error::Error;
use crate::url::WebUrl;

/// What is asked for only under a condition.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions<'a> {
    /// A part alone, if the file is still the same.
    pub resume: Option<RangeRequest<'a>>,
    /// Anything at all, only if the file has changed since (RFC 9110, section 13.1.3).
    pub changed_since: Option<SystemTime>,
}

/// A part of a file, to be asked for, with what proves that it is a part of that file.
#[derive(Debug, Clone, Copy)]
pub struct RangeRequest<'a> {
    /// The first byte that is wanted.
    pub from: u64,
    /// The place after the last byte that is wanted, if that is not the end of the file.
    pub to: Option<u64>,
    /// What the file was known by.
    pub validator: &'a Validator,
    /// The file's length, where it was announced.
    pub length: Option<u64>,
}

/// What came of asking.
#[derive(Debug)]
pub enum Reply {
    /// A body to be read.
    Response(Box<Response>),
    /// There is no rest: what was there before is the whole file.
    AlreadyComplete,
    /// The file has not changed.
    NotModified,
}

impl From<Response> for Reply {
    fn from(answer: Response) -> Self {
        Self::Response(Box::new(answer))
    }
}

impl Conditions<'_> {
    /// Whether a server that does not heed the condition sends what has not changed, by its own word. An older date is a
    /// change as well: the file may have been put back.
    pub(super) fn already_have(&self, answer: &Response) -> bool {
        match (self.changed_since, answer.last_modified()) {
            (Some(time), Some(modified)) => in_seconds(modified) == in_seconds(time),
            _ => false,
        }
    }
}

/// A time as precise as headers have it.
fn in_seconds(time: SystemTime) -> Option<u64> {
    Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
}

impl RangeRequest<'_> {
    /// The value of a `Range` header (RFC 9110, section 14.2).
    pub(super) fn range(&self) -> String {
        match self.to {
            None => format!("bytes={}-", self.from),
            Some(to) => format!("bytes={}-{}", self.from, to.saturating_sub(1)),
        }
    }

    /// Whether a 200 is certainly the whole file: the same one, of the known length.
    pub(super) fn is_whole(&self, answer: &Response) -> bool {
        self.length.is_some() && answer.framing().length() == self.length && answer.is_confirmed_by(self.validator)
    }

    /// A 416: nothing is wrong with it if the file ends where the rest would begin.
    pub(super) fn judge_unsatisfied(&self, headers: &HeaderMap, effective_url: &WebUrl) -> Result<Reply, Error> {
        let range = content_range(headers);
        let entity_headers = EntityHeaders {
            content_encoding: self.validator.content_encoding(),
            ..entity_headers(headers, effective_url)
        };
        // Many servers name no validator here. Where the length was never announced, it has to say that of this very file.
        let is_length_known = match self.length {
            Some(length) => length == self.from,
            None => self.validator.is_confirmed_by(&entity_headers),
        };
        let is_whole = self.to.is_none()
            && range == Some(ContentRange::Unsatisfied { total: self.from })
            && is_length_known
            && self.validator.agrees_with(&entity_headers);
        if is_whole { Ok(Reply::AlreadyComplete) } else { Err(Error::Range("the file has no such range")) }
    }

    /// The end of the body and the length of the file, of a 206 that is the part that was asked for, of this very file.
    pub(super) fn judge_part(
        &self,
        headers: &HeaderMap,
        effective_url: &WebUrl,
        length: Option<u64>,
    ) -> Result<(u64, u64), &'static str> {
        let range = content_range(headers);
        let Some(ContentRange::Part { first, last, total }) = range else {
            return Err("it does not say which range it is");
        };
        let total = match (total, self.length) {
            (Some(total), Some(length)) if total != length => {
                return Err("the file has another length");
            }
            (Some(total), _) => total,
            (None, Some(length)) if last < length => length,
            (None, _) => return Err("it does not say how long the file is"),
        };
        if first != self.from {
            return Err("it begins elsewhere");
        }
        // A server may send less than was asked for (RFC 9110, section 15.3.7), and what is missing is asked for again.
        if self.to.is_some_and(|to| last + 1 > to) {
            return Err("it ends elsewhere");
        }
        if length.is_some_and(|length| length != last + 1 - first) {
            return Err("its length is not that of its range");
        }
        let entity_headers = entity_headers(headers, effective_url);
        if !self.validator.agrees_with(&entity_headers) {
            return Err("it is of another file");
        }
        // A server that ignores If-Range may send a range of what the file is now. A 206 that says nothing proves
        // nothing; it has to name the validator itself (RFC 9110, section 15.3.7).
        if !self.validator.is_confirmed_by(&entity_headers) {
            return Err("it does not say which file it is of");
        }
        Ok((last + 1, total))
    }
}
