//! Asking for a URL: a few clients that threads share, one request with its redirects, and the answer's body.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use reqwest::blocking as http;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::content_range::ContentRange;
use super::redirect::Hops;
use super::validator::{Marks, Validator};
use super::{failure, retry_after};
use crate::error::{Failure, HoldBack};
use crate::options::Network;
use crate::url::WebUrl;

/// What tdl calls itself to servers.
const USER_AGENT: &str = concat!("tdl/", env!("CARGO_PKG_VERSION"));

/// More clients than this gain nothing, measured.
const MOST_CLIENTS: usize = 4;

/// A connection unused for so long is closed, or a list over many hosts would keep one open to each.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The body of an answer that is not wanted is read up to here, for its connection can then be used again.
const DRAINED: u64 = 16 * 1024;

/// No time is lost on a body that is not wanted, but for one read that stalls.
const DRAINED_WITHIN: Duration = Duration::from_millis(200);

/// The clients of a run. Each is one runtime thread doing all sockets of its client: one alone is 20 to 30 % slower
/// on two cores (measured), and a client each would cost a thread for every thread.
#[derive(Debug)]
pub struct Clients(Vec<Client>);

impl Clients {
    /// As many clients as `threads` can use. None is set up before its first request.
    #[must_use]
    pub fn new(network: &Network, threads: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = cores.min(MOST_CLIENTS).min(threads).max(1);
        Self((0..count).map(|_| Client::new(network)).collect())
    }

    /// The client that a thread stays with, so that it finds its connections again.
    #[must_use]
    pub fn of_thread(&self, thread: usize) -> &Client {
        &self.0[thread % self.0.len()]
    }
}

/// One client, set up when it is first asked for something.
#[derive(Debug)]
pub struct Client {
    network: Network,
    headers: HeaderMap,
    /// For http: it knows no certificates, which take most of the time to set up and may be missing.
    plain: OnceLock<http::Client>,
    secure: OnceLock<http::Client>,
    setting_up: Mutex<()>,
    /// Whether the last request was answered, so that its connection may be kept, and closed by the other side.
    went_well: AtomicBool,
}

impl Client {
    fn new(network: &Network) -> Self {
        let mut headers = HeaderMap::new();
        for header in &network.headers {
            // `Header` lets pass what these accept, and less.
            let name = HeaderName::from_bytes(header.name().as_bytes());
            let value = HeaderValue::from_bytes(header.value().as_bytes());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        Self {
            network: network.clone(),
            headers,
            plain: OnceLock::new(),
            secure: OnceLock::new(),
            setting_up: Mutex::default(),
            went_well: AtomicBool::default(),
        }
    }

    /// Asks for a URL, or for the rest of it, and follows its redirects. What the user gave for the URL, headers and
    /// user info, goes to the URL's own origin only. `on_redirect` hears of each hop.
    ///
    /// # Errors
    ///
    /// Any status but 200, or 206 where a range was asked for; [`Failure::Range`] if that is not the very rest;
    /// and whatever keeps the answer from coming.
    pub fn get(
        &self,
        url: &WebUrl,
        conditions: &Conditions<'_>,
        mut on_redirect: impl FnMut(&WebUrl),
    ) -> Result<Got, Failure> {
        match self.get_under(url, conditions, &mut on_redirect) {
            // Some servers refuse what has a range, whatever it is; without one they may give the file.
            Err(failure @ Failure::Status { .. }) if conditions.resume.is_some() && !failure.is_temporary() => {
                self.get_under(url, &Conditions { resume: None, ..*conditions }, &mut on_redirect)
            }
            got => got,
        }
    }

    fn get_under(
        &self,
        url: &WebUrl,
        conditions: &Conditions<'_>,
        on_redirect: &mut impl FnMut(&WebUrl),
    ) -> Result<Got, Failure> {
        let resume = conditions.resume.as_ref();
        let mut hops = Hops::from(url);
        loop {
            let response = self.request(url, &hops, conditions)?;
            let status = response.status();
            match (status.as_u16(), resume) {
                (200, _) => {
                    let answer = Answer::whole(response, hops.current(), self.network.stall_timeout)?;
                    return Ok(if conditions.already_have(&answer) { Got::Unchanged } else { answer.into() });
                }
                (304, _) if conditions.changed_since.is_some() => return Ok(Got::Unchanged),
                (206, Some(resume)) => {
                    return Answer::rest(response, hops.current(), resume, self.network.stall_timeout).map(Got::from);
                }
                (416, Some(resume)) => return resume.judge_unsatisfied(response.headers(), hops.current()),
                (301 | 302 | 303 | 307 | 308, _) => {
                    if let Some(location) = response.headers().get(header::LOCATION).cloned() {
                        drain(response);
                        hops.follow(location.as_bytes())?;
                        on_redirect(hops.current());
                        continue;
                    }
                }
                _ => {}
            }
            let retry_after = text_of(response.headers(), &header::RETRY_AFTER)
                .and_then(|value| retry_after::parse(value, SystemTime::now()))
                .map(|wait| Box::new(HoldBack { host: hops.current().host(), wait }));
            drain(response);
            let reason = status.canonical_reason().unwrap_or_default();
            return Err(Failure::Status { code: status.as_u16(), reason, retry_after });
        }
    }

    /// One request. A kept connection that the server closed at that moment costs no attempt: the request is sent once
    /// more at once, as it may be (RFC 9110, section 9.2.2), if the last one went well.
    fn request(&self, url: &WebUrl, hops: &Hops, conditions: &Conditions<'_>) -> Result<http::Response, Failure> {
        let mut answer = self.send(url, hops, conditions);
        if matches!(answer, Err(Failure::Broken { .. })) && self.went_well.swap(false, Ordering::Relaxed) {
            answer = self.send(url, hops, conditions);
        }
        if answer.is_ok() {
            self.went_well.store(true, Ordering::Relaxed);
        }
        answer
    }

    fn send(&self, url: &WebUrl, hops: &Hops, conditions: &Conditions<'_>) -> Result<http::Response, Failure> {
        let client = self.for_url(hops.current())?;
        let mut request = client.get(hops.current().unredacted());
        if hops.is_at_origin() {
            if let Some((user, password)) = url.credentials() {
                request = request.basic_auth(user, password);
            }
            request = request.headers(self.headers.clone());
        }
        if let Some(date) = conditions.changed_since.and_then(http_date) {
            request = request.header(header::IF_MODIFIED_SINCE, date);
        }
        if let Some(resume) = &conditions.resume {
            request = request.header(header::RANGE, format!("bytes={}-", resume.from));
            request = request.header(header::IF_RANGE, resume.validator.if_range());
        }
        let Network { stall_timeout, connect_timeout, .. } = self.network;
        request.send().map_err(|error| failure::of_request(error, stall_timeout, connect_timeout))
    }

    fn for_url(&self, url: &WebUrl) -> Result<&http::Client, Failure> {
        let slot = if url.is_https() { &self.secure } else { &self.plain };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        // One thread sets it up while the others that share it wait. What fails is tried again by the next.
        let _alone = self.setting_up.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let builder = builder(&self.network);
        let builder = if url.is_https() { builder } else { builder.tls_certs_only([]) };
        let client = builder.build().map_err(failure::of_setup)?;
        Ok(slot.get_or_init(|| client))
    }
}

fn builder(network: &Network) -> http::ClientBuilder {
    // The library's `timeout` covers the wait for headers and then each read anew: it is the stall time-out.
    // Its own redirects would forward custom headers to other hosts.
    http::Client::builder()
        .user_agent(USER_AGENT)
        .default_headers(HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))]))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .http1_only()
        .timeout(network.stall_timeout)
        .connect_timeout(network.connect_timeout)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tls_danger_accept_invalid_certs(network.insecure)
}

/// A time as headers have it (RFC 9110, section 5.6.7); `None` for one that they cannot have.
fn http_date(time: SystemTime) -> Option<String> {
    /// The first second of the year 10000.
    const END: Duration = Duration::from_secs(253_402_300_800);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    (since < END).then(|| httpdate::fmt_http_date(time))
}

/// Reads a short body that is not wanted, for as long as that is quick.
fn drain(mut response: http::Response) {
    if response.content_length().is_some_and(|length| length <= DRAINED) {
        let begun = Instant::now();
        let mut buffer = [0; 4096];
        while begun.elapsed() < DRAINED_WITHIN && response.read(&mut buffer).is_ok_and(|count| count > 0) {}
    }
}

/// The rest of a file, to be asked for, with what proves that it is the rest of that file.
#[derive(Debug, Clone, Copy)]
pub struct Resume<'a> {
    /// The first byte that is wanted.
    pub from: u64,
    /// What the file was known by.
    pub validator: &'a Validator,
    /// The file's length, where it was announced.
    pub length: Option<u64>,
}

/// What is asked for only under a condition.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions<'a> {
    /// The rest alone, if the file is still the same.
    pub resume: Option<Resume<'a>>,
    /// Anything at all, only if the file has changed since (RFC 9110, section 13.1.3).
    pub changed_since: Option<SystemTime>,
}

/// What came of asking.
#[derive(Debug)]
pub enum Got {
    /// A body to be read.
    Answer(Box<Answer>),
    /// There is no rest: what was there before is the whole file.
    AllThere,
    /// The file has not changed.
    Unchanged,
}

impl From<Answer> for Got {
    fn from(answer: Answer) -> Self {
        Self::Answer(Box::new(answer))
    }
}

impl Conditions<'_> {
    /// Whether a server that does not heed the condition sends what has not changed, by its own word.
    fn already_have(&self, answer: &Answer) -> bool {
        match (self.changed_since, answer.last_modified()) {
            (Some(time), Some(modified)) => modified <= time,
            _ => false,
        }
    }
}

impl Resume<'_> {
    /// A 416: nothing is wrong with it if the file ends where the rest would begin.
    fn judge_unsatisfied(&self, headers: &HeaderMap, place: &WebUrl) -> Result<Got, Failure> {
        let range = text_of(headers, &header::CONTENT_RANGE).and_then(ContentRange::parse);
        let is_whole = range == Some(ContentRange::Unsatisfied { total: self.from })
            && self.length.is_none_or(|length| length == self.from)
            && self.validator.agrees_with(&Marks { coding: self.validator.coding(), ..marks(headers, place) });
        if is_whole { Ok(Got::AllThere) } else { Err(Failure::Range("the file has no such range")) }
    }

    /// The end of the body and the length of the file, of a 206 that is the rest of this very file.
    fn judge_rest(&self, headers: &HeaderMap, place: &WebUrl, length: Option<u64>) -> Result<(u64, u64), &'static str> {
        let range = text_of(headers, &header::CONTENT_RANGE).and_then(ContentRange::parse);
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
        if length.is_some_and(|length| length != last + 1 - first) {
            return Err("its length is not that of its range");
        }
        if !self.validator.agrees_with(&marks(headers, place)) {
            return Err("it is of another file");
        }
        Ok((last + 1, total))
    }
}

/// What an answer from `place` says of its file.
fn marks(headers: &HeaderMap, place: &WebUrl) -> Marks {
    let joined = |name| {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        (!values.is_empty()).then(|| values.join(", "))
    };
    Marks {
        etag: joined(header::ETAG),
        last_modified: joined(header::LAST_MODIFIED),
        coding: joined(header::CONTENT_ENCODING),
        place: place.place(),
    }
}

fn validator(headers: &HeaderMap, place: &WebUrl) -> Option<Validator> {
    // Most answers have none, or are small; so what it costs to look is kept low.
    if !headers.contains_key(header::ETAG) && !headers.contains_key(header::LAST_MODIFIED) {
        return None;
    }
    Validator::of(marks(headers, place), text_of(headers, &header::DATE))
}

fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// An answer of status 200, or a 206 that was asked for and is the very rest; its body is still to be read.
#[derive(Debug)]
pub struct Answer {
    response: http::Response,
    framing: Framing,
    /// The place in the file of the next byte.
    position: u64,
    /// The place after the body's last byte, where it was announced.
    end: Option<u64>,
    validator: Option<Validator>,
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
    pub const fn shows_the_end(self) -> bool {
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

impl Answer {
    fn whole(response: http::Response, place: &WebUrl, stall_timeout: Duration) -> Result<Self, Failure> {
        // Asked for later, once reading has begun, the library says 0.
        let length = response.content_length();
        let framing = match (length, text_of(response.headers(), &header::TRANSFER_ENCODING)) {
            (Some(length), _) => Framing::Length(length),
            (None, Some(coding)) if coding.trim().eq_ignore_ascii_case("chunked") => Framing::Chunked,
            (None, None) => Framing::Close,
            // Its bytes would not be the file's.
            (None, Some(_)) => return Err(Failure::Protocol("a transfer coding that was not asked for".into())),
        };
        let validator = validator(response.headers(), place);
        Ok(Self { response, framing, position: 0, end: length, validator, stall_timeout })
    }

    fn rest(
        response: http::Response,
        place: &WebUrl,
        resume: &Resume<'_>,
        stall_timeout: Duration,
    ) -> Result<Self, Failure> {
        let rest = resume.judge_rest(response.headers(), place, response.content_length());
        let (end, total) = rest.map_err(Failure::Range)?;
        let (framing, position) = (Framing::Length(total), resume.from);
        Ok(Self { response, framing, position, end: Some(end), validator: None, stall_timeout })
    }

    /// How the end of the file will be known.
    #[must_use]
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// The place in the file of the body's next byte; where it is not 0 at first, this is the rest that was asked for.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// What the file can be known by when the rest of it is asked for; for a whole answer.
    #[must_use]
    pub const fn validator(&self) -> Option<&Validator> {
        self.validator.as_ref()
    }

    /// When the server says that the file was changed last (RFC 9110, section 8.8.2), to the second.
    #[must_use]
    pub fn last_modified(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(text_of(self.response.headers(), &header::LAST_MODIFIED)?).ok()
    }

    /// Reads the next bytes of the body; 0 at the end of the file.
    ///
    /// # Errors
    ///
    /// A stall, or an end before the announced one.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let length = self.framing.length();
        let count = self
            .response
            .read(buffer)
            .map_err(|error| failure::of_body(&error, self.position, length, self.stall_timeout))?;
        self.position += count as u64;
        if self.end.is_some_and(|end| self.position > end) {
            return Err(Failure::Range("it is longer than its range"));
        }
        match length {
            Some(expected) if count == 0 && self.position != expected => {
                Err(Failure::Truncated { received: self.position, expected })
            }
            _ => Ok(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_headers_cannot_have_is_left_out() {
        let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(http_date(time(784_111_777)).as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(http_date(time(253_402_300_799)).is_some());
        assert_eq!(http_date(time(253_402_300_800)), None);
        assert_eq!(http_date(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), None);
    }
}
