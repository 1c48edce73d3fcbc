//! Asking for a URL: a few clients that threads share, and one request with its redirects.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::exchange::{self, RawResponse};
use super::lazy_client::{Connection, LazyClient};
use super::redirect::RedirectChain;
use super::request::{Conditions, RangeRequest, Reply};
use super::resolver::SystemResolver;
use super::response::{Response, text_of};
use super::runtime::Runtime;
use super::{failure, proxy, retry_after, tunnel};
use crate::error::{Error, RetryAfter};
use crate::options::Network;
use crate::url::WebUrl;

/// What tdl calls itself to servers.
const USER_AGENT: &str = concat!("tdl/", env!("CARGO_PKG_VERSION"));

/// More runtimes than this gain nothing, measured.
const MAX_RUNTIMES: usize = 4;

/// A connection unused for so long is closed, or a list over many hosts would keep one open to each.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The body of an answer that is not wanted is waited for up to this length, for its connection can then be used again.
const DRAINED: u64 = 16 * 1024;

/// No more time than this is lost on a body that is not wanted.
const DRAINED_WITHIN: Duration = Duration::from_millis(200);

/// The clients of a run, which its threads share.
///
/// How many runtimes there are was measured on two cores with sixteen threads, the server on the same cores. For http,
/// one alone is 10 to 30 % slower than one a core, and one for each thread no faster. For https, one a core is 10 %
/// slower than one alone, and takes 30 % more of the processor: with two, a thread is woken for nearly every record.
#[derive(Debug)]
pub struct Clients {
    network: Network,
    headers: HeaderMap,
    runtimes: Vec<RuntimeClients>,
    /// How many of the slots are used for https.
    secure: usize,
}

/// A runtime, and the clients of the library that use it.
#[derive(Debug)]
struct RuntimeClients {
    runtime: Runtime,
    /// For http: it knows no certificates, which take most of the time to set up and may be missing.
    plain: LazyClient,
    secure: LazyClient,
}

impl Clients {
    /// As many runtimes as `threads` can use, started before the threads are, so that these cannot take the last that
    /// the system has. The clients together keep no more than about `max_idle` connections open.
    ///
    /// # Errors
    ///
    /// [`Error::Exhausted`] if not one runtime can be started.
    pub fn new(network: &Network, threads: usize, max_idle: usize) -> Result<Self, Error> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let wanted = cores.min(MAX_RUNTIMES).min(threads).max(1);
        // With two cores, one; see above.
        let secure = (cores / 2).clamp(1, wanted);
        // A client that is made anew more often than its threads need connections would never use one again.
        let lazy = |count: usize| LazyClient::new((max_idle / wanted / 2).max(threads.div_ceil(count) * 3 / 2));
        let mut runtimes = Vec::with_capacity(wanted);
        for number in 0..wanted {
            match Runtime::start(number) {
                Ok(runtime) => runtimes.push(RuntimeClients { runtime, plain: lazy(wanted), secure: lazy(secure) }),
                Err(error) if number == 0 => {
                    return Err(Error::Exhausted { action: "start a thread", source: error });
                }
                Err(_) => break,
            }
        }
        let mut headers = HeaderMap::new();
        for header in &network.headers {
            // `Header` lets pass what these accept, and less.
            let name = HeaderName::from_bytes(header.name().as_bytes());
            let value = HeaderValue::from_bytes(header.value().as_bytes());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        let secure = secure.min(runtimes.len());
        Ok(Self { network: network.clone(), headers, runtimes, secure })
    }

    /// What a thread asks with. It stays with the same clients, so that it finds their connections again.
    #[must_use]
    pub fn for_thread(&self, thread: usize) -> Client<'_> {
        let plain = &self.runtimes[thread % self.runtimes.len()];
        Client { shared: self, plain, secure: &self.runtimes[thread % self.secure] }
    }

    /// Closes every connection that is kept open and not in use.
    pub fn close_idle(&self) {
        for runtime_clients in &self.runtimes {
            runtime_clients.plain.close_idle();
            runtime_clients.secure.close_idle();
        }
    }
}

/// What one thread asks with.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    shared: &'a Clients,
    plain: &'a RuntimeClients,
    secure: &'a RuntimeClients,
}

impl Client<'_> {
    /// Asks for a URL, or for a part of it, and follows its redirects. What the user gave for the URL, headers and
    /// user info, goes to the URL's own origin only. `on_redirect` hears of each hop.
    ///
    /// With `shortcut`, the URL that answered before is asked first, without the redirects that led there: they may lead
    /// to another mirror each time, and a validator holds for one URL alone. If that URL refuses, they are followed again.
    ///
    /// # Errors
    ///
    /// Any status but 200, or 206 where a range was asked for; [`Error::Range`] if that is not the very part;
    /// and whatever keeps the answer from coming.
    pub fn get(
        &self,
        url: &WebUrl,
        effective_url: Option<&WebUrl>,
        conditions: &Conditions<'_>,
        mut on_redirect: impl FnMut(&WebUrl),
    ) -> Result<Reply, Error> {
        if let Some(effective_url) = effective_url {
            match self.get_under(url, RedirectChain::from_answer(url, effective_url), conditions, &mut on_redirect) {
                Ok(Reply::Response(answer)) if !answer.is_part() => {}
                Err(failure) if matches!(failure, Error::Range(_)) || !failure.is_temporary() => {}
                got => return got,
            }
        }
        let Some(resume) = conditions.resume else {
            return self.get_under(url, RedirectChain::from(url), conditions, &mut on_redirect);
        };
        match self.get_under(url, RedirectChain::from(url), conditions, &mut on_redirect) {
            // Some servers give the range that was asked for, and call it the whole file. So what answers a range is taken
            // for the whole only if it is known to be as long.
            Ok(Reply::Response(answer)) if !answer.is_part() && !resume.is_whole(&answer) => {}
            // Others refuse whatever has a range, or lead it astray.
            Err(failure) if !failure.is_temporary() => {}
            got => return got,
        }
        let whole = Conditions { resume: None, ..*conditions };
        self.get_under(url, RedirectChain::from(url), &whole, &mut on_redirect)
    }

    /// Asks for a part of a URL's file, to be put beside others.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] for anything but that very part, a refusal, or whatever keeps the answer from coming.
    pub fn get_part(
        &self,
        url: &WebUrl,
        effective_url: Option<&WebUrl>,
        part: RangeRequest<'_>,
    ) -> Result<Response, Error> {
        let conditions = Conditions { resume: Some(part), changed_since: None };
        let part_under = |chain| match self.get_under(url, chain, &conditions, &mut |_| {})? {
            Reply::Response(answer) if answer.is_part() => Ok(*answer),
            Reply::Response(_) => Err(Error::Range("it is the whole file")),
            Reply::AlreadyComplete | Reply::NotModified => Err(Error::Range("the file has no such range")),
        };
        match effective_url.map(|effective_url| part_under(RedirectChain::from_answer(url, effective_url))) {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(failure)) if failure.is_temporary() && !matches!(failure, Error::Range(_)) => Err(failure),
            _ => part_under(RedirectChain::from(url)),
        }
    }

    fn get_under(
        &self,
        url: &WebUrl,
        mut chain: RedirectChain,
        conditions: &Conditions<'_>,
        on_redirect: &mut impl FnMut(&WebUrl),
    ) -> Result<Reply, Error> {
        let resume = conditions.resume.as_ref();
        loop {
            let response = self.request(url, &chain, conditions)?;
            let status = response.status;
            match (status.as_u16(), resume) {
                (200, _) => {
                    let answer = Response::whole(response, chain.current(), self.shared.network.stall_timeout)?;
                    return Ok(if conditions.already_have(&answer) { Reply::NotModified } else { answer.into() });
                }
                (304, _) if conditions.changed_since.is_some() => return Ok(Reply::NotModified),
                (206, Some(resume)) => {
                    return Response::part(response, chain.current(), resume, self.shared.network.stall_timeout)
                        .map(Reply::from);
                }
                (416, Some(resume)) => return resume.judge_unsatisfied(&response.headers, chain.current()),
                (301 | 302 | 303 | 307 | 308, _) => {
                    if let Some(location) = response.headers.get(header::LOCATION).cloned() {
                        drain(response);
                        chain.follow(location.as_bytes())?;
                        on_redirect(chain.current());
                        continue;
                    }
                }
                _ => {}
            }
            let date = text_of(&response.headers, &header::DATE);
            let retry_after = text_of(&response.headers, &header::RETRY_AFTER)
                .and_then(|value| retry_after::parse(value, date, SystemTime::now()))
                .map(|wait| Box::new(RetryAfter { host: chain.current().host(), wait }));
            drain(response);
            let reason = status.canonical_reason().unwrap_or_default();
            return Err(Error::Status { code: status.as_u16(), reason, retry_after });
        }
    }

    /// One request. If it fails on a connection that may have been used before, it is sent once more at once on a new one,
    /// which costs no attempt: the server may have closed the old one at that moment, and a request may then be repeated
    /// (RFC 9110, section 9.2.2); or bytes that belong to no response may have come before the answer.
    fn request(&self, url: &WebUrl, chain: &RedirectChain, conditions: &Conditions<'_>) -> Result<RawResponse, Error> {
        let begun = Instant::now();
        let is_https = chain.current().is_https();
        let runtime_clients = if is_https { self.secure } else { self.plain };
        let lazy = if is_https { &runtime_clients.secure } else { &runtime_clients.plain };
        let network = &self.shared.network;
        let send = |connection| {
            let client = lazy.client(connection, || builder(network, is_https))?;
            let request = self.build(&client, url, chain, conditions)?;
            let response =
                exchange::send(runtime_clients.runtime.handle(), client, request, lazy.note_answer(connection));
            response.map_err(|failed| failure::of_exchange(failed, network))
        };
        let mut response = send(Connection::Kept);
        // The library's wait for headers includes connecting, so that a longer wait for a connection has to be several.
        while matches!(response, Err(Error::ConnectTimeout(longest)) if begun.elapsed() < longest) {
            response = send(Connection::Kept);
        }
        if matches!(response, Err(Error::Broken { .. } | Error::Protocol(_))) && lazy.note_failure() {
            response = send(Connection::New);
        }
        response.map_err(|failure| tunnel::explained(failure, chain.current(), network))
    }

    fn build(
        &self,
        client: &reqwest::Client,
        url: &WebUrl,
        chain: &RedirectChain,
        conditions: &Conditions<'_>,
    ) -> Result<reqwest::Request, Error> {
        let mut request = client.get(chain.current().url().clone());
        if chain.is_at_origin() {
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
        request.build().map_err(|error| failure::of_request(error, &self.shared.network))
    }
}

fn builder(network: &Network, is_https: bool) -> Result<reqwest::ClientBuilder, Error> {
    // No-op if the application has already installed a provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The library's `read_timeout` covers the wait for headers and then each read anew: it is the stall time-out.
    // Its own redirects would forward custom headers to other hosts.
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .default_headers(HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))]))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // Only tdl tries again, and counts it.
        .retry(reqwest::retry::never().max_retries_per_request(0))
        .http1_only()
        .read_timeout(network.stall_timeout)
        // Less than the other, or a connection that does not come would be taken for a stall.
        .connect_timeout(network.connect_timeout.min(network.stall_timeout.mul_f64(0.9)))
        .pool_idle_timeout(IDLE_TIMEOUT)
        .dns_resolver(Arc::new(SystemResolver))
        .tls_danger_accept_invalid_certs(network.insecure);
    let builder = proxy::set(builder, &network.proxies)
        .map_err(|error| Error::Client { is_temporary: false, cause: error.into() })?;
    Ok(if is_https { builder } else { builder.tls_certs_only([]) })
}

/// A time as headers have it (RFC 9110, section 5.6.7); `None` for one that they cannot have.
fn http_date(time: SystemTime) -> Option<String> {
    /// The first second of the year 10000.
    const END: Duration = Duration::from_secs(253_402_300_800);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    (since < END).then(|| httpdate::fmt_http_date(time))
}

/// Waits for a short body that is not wanted, for as long as that is quick.
fn drain(response: RawResponse) {
    if response.content_length.is_some_and(|length| length <= DRAINED) {
        response.wait_for_end(DRAINED_WITHIN);
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
