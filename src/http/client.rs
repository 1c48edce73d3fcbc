//! Asking for a URL: a few clients that threads share, and one request with its redirects.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use reqwest::blocking as http;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::answer::{Answer, text_of};
use super::conditions::{Conditions, Got, Resume};
use super::redirect::Hops;
use super::resolver::SystemResolver;
use super::{failure, proxy, retry_after, tunnel};
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

/// The clients of a run, which its threads share. Each is one runtime thread doing all sockets of its client.
///
/// How many there are was measured on two cores with sixteen threads, the server on the same cores. For http, one alone
/// is 10 to 30 % slower than one a core, and one for each thread no faster. For https, one a core is 10 % slower than
/// one alone, and takes 30 % more of the processor: with two, a thread is woken for nearly every record.
#[derive(Debug)]
pub struct Clients {
    network: Network,
    headers: HeaderMap,
    /// For http: these know no certificates, which take most of the time to set up and may be missing.
    plain: Vec<Slot>,
    secure: Vec<Slot>,
}

/// A place for one client of the library, set up when it is first asked for something.
#[derive(Debug, Default)]
struct Slot {
    client: OnceLock<http::Client>,
    setting_up: Mutex<()>,
    /// Whether the last request was answered, so that its connection may be kept, and closed by the other side.
    went_well: AtomicBool,
}

impl Clients {
    /// As many clients as `threads` can use. None is set up before its first request.
    #[must_use]
    pub fn new(network: &Network, threads: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let slots = |count: usize| (0..count.min(MOST_CLIENTS).min(threads).max(1)).map(|_| Slot::default()).collect();
        let mut headers = HeaderMap::new();
        for header in &network.headers {
            // `Header` lets pass what these accept, and less.
            let name = HeaderName::from_bytes(header.name().as_bytes());
            let value = HeaderValue::from_bytes(header.value().as_bytes());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        Self { network: network.clone(), headers, plain: slots(cores), secure: slots(cores / 2) }
    }

    /// What a thread asks with. It stays with the same clients, so that it finds their connections again.
    #[must_use]
    pub fn of_thread(&self, thread: usize) -> Client<'_> {
        let of = |slots: &'_ [Slot]| thread % slots.len();
        Client { shared: self, plain: &self.plain[of(&self.plain)], secure: &self.secure[of(&self.secure)] }
    }
}

/// What one thread asks with.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    shared: &'a Clients,
    plain: &'a Slot,
    secure: &'a Slot,
}

impl Client<'_> {
    /// Asks for a URL, or for a part of it, and follows its redirects. What the user gave for the URL, headers and
    /// user info, goes to the URL's own origin only. `on_redirect` hears of each hop.
    ///
    /// # Errors
    ///
    /// Any status but 200, or 206 where a range was asked for; [`Failure::Range`] if that is not the very part;
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

    /// Asks for a part of a URL's file, to be put beside others: so its answer has to name the validator itself.
    ///
    /// # Errors
    ///
    /// [`Failure::Range`] for anything but that very part, a refusal, or whatever keeps the answer from coming.
    pub fn get_part(&self, url: &WebUrl, part: Resume<'_>) -> Result<Answer, Failure> {
        let conditions = Conditions { resume: Some(part), changed_since: None };
        match self.get_under(url, &conditions, &mut |_| {})? {
            Got::Answer(answer) if !answer.is_part() => Err(Failure::Range("it is the whole file")),
            Got::Answer(answer) if answer.is_confirmed_by(part.validator) => Ok(*answer),
            Got::Answer(_) => Err(Failure::Range("it does not say which file it is of")),
            Got::AllThere | Got::Unchanged => Err(Failure::Range("the file has no such range")),
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
                    let answer = Answer::whole(response, hops.current(), self.shared.network.stall_timeout)?;
                    return Ok(if conditions.already_have(&answer) { Got::Unchanged } else { answer.into() });
                }
                (304, _) if conditions.changed_since.is_some() => return Ok(Got::Unchanged),
                (206, Some(resume)) => {
                    return Answer::part(response, hops.current(), resume, self.shared.network.stall_timeout)
                        .map(Got::from);
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
                .and_then(|value| {
                    retry_after::parse(value, text_of(response.headers(), &header::DATE), SystemTime::now())
                })
                .map(|wait| Box::new(HoldBack { host: hops.current().host(), wait }));
            drain(response);
            let reason = status.canonical_reason().unwrap_or_default();
            return Err(Failure::Status { code: status.as_u16(), reason, retry_after });
        }
    }

    /// One request. A kept connection that the server closed at that moment costs no attempt: the request is sent once
    /// more at once, as it may be (RFC 9110, section 9.2.2), if the last one went well.
    fn request(&self, url: &WebUrl, hops: &Hops, conditions: &Conditions<'_>) -> Result<http::Response, Failure> {
        let begun = Instant::now();
        let slot = if hops.current().is_https() { self.secure } else { self.plain };
        let mut answer = self.send(slot, url, hops, conditions);
        // The library's wait for headers includes connecting, so that a longer wait for a connection has to be several.
        while matches!(answer, Err(Failure::ConnectTimeout(longest)) if begun.elapsed() < longest) {
            answer = self.send(slot, url, hops, conditions);
        }
        if matches!(answer, Err(Failure::Broken { .. })) && slot.went_well.swap(false, Ordering::Relaxed) {
            answer = self.send(slot, url, hops, conditions);
        }
        if answer.is_ok() {
            slot.went_well.store(true, Ordering::Relaxed);
        }
        answer
    }

    fn send(
        &self,
        slot: &Slot,
        url: &WebUrl,
        hops: &Hops,
        conditions: &Conditions<'_>,
    ) -> Result<http::Response, Failure> {
        let client = slot.client(&self.shared.network, hops.current().is_https())?;
        let mut request = client.get(hops.current().url().clone());
        if hops.is_at_origin() {
            if let Some((user, password)) = url.credentials() {
                request = request.basic_auth(user, password);
            }
            request = request.headers(self.shared.headers.clone());
        }
        if let Some(date) = conditions.changed_since.and_then(http_date) {
            request = request.header(header::IF_MODIFIED_SINCE, date);
        }
        if let Some(resume) = &conditions.resume {
            request = request.header(header::RANGE, resume.range());
            request = request.header(header::IF_RANGE, resume.validator.if_range());
        }
        let network = &self.shared.network;
        request.send().map_err(|error| tunnel::explained(failure::of_request(error, network), hops.current(), network))
    }
}

impl Slot {
    fn client(&self, network: &Network, is_secure: bool) -> Result<&http::Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // One thread sets it up while the others that share it wait. What fails is tried again by the next.
        let _alone = self.setting_up.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // Unless who uses the library has chosen another.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = proxy::set(builder(network), &network.proxies)
            .map_err(|error| Failure::Client { is_temporary: false, cause: error.into() })?;
        let builder = if is_secure { builder } else { builder.tls_certs_only([]) };
        let client = builder.build().map_err(failure::of_setup)?;
        Ok(self.client.get_or_init(|| client))
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
        // Only tdl tries again, and counts it.
        .retry(reqwest::retry::never().max_retries_per_request(0))
        .http1_only()
        .timeout(network.stall_timeout)
        // Less than the other, or a connection that does not come would be taken for a stall.
        .connect_timeout(network.connect_timeout.min(network.stall_timeout.mul_f64(0.9)))
        .pool_idle_timeout(IDLE_TIMEOUT)
        .dns_resolver(Arc::new(SystemResolver))
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
