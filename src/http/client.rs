//! What one thread sends requests with: redirects, and the retries that cost no attempt. `request` judges the headers
//! of a response, and `run` decides on retries.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{self, HeaderMap, HeaderValue};

use super::exchange::{self, RawResponse};
use super::headers::{header_map, header_text};
use super::lazy_client::{Connection, LazyClient};
use super::redirect::RedirectChain;
use super::request::{Conditions, RangeRequest, Request};
use super::resolver::SystemResolver;
use super::response::{Reply, Response};
use super::response_buffer::CancelCheck;
use super::retry_after::parse_retry_after;
use super::runtime::Runtime;
use super::{failure, proxy, tunnel};
use crate::error::{Error, RetryAfter};
use crate::options::{Header, Network};
use crate::url::WebUrl;

const USER_AGENT: &str = concat!("tdl/", env!("CARGO_PKG_VERSION"));

/// An idle connection is closed after this long. Otherwise a list over many hosts would keep one open to each.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// An unwanted body up to this length is drained, so that its connection can be reused.
const MAX_DRAINED: u64 = 16 * 1024;

/// The longest time spent on draining an unwanted body.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);

/// A runtime, and the clients that use it.
#[derive(Debug)]
pub struct RuntimeClients {
    pub runtime: Runtime,
    /// For http. It loads no certificates, which take most of the time to set up and may be missing.
    pub plain: LazyClient,
    /// For https.
    pub secure: LazyClient,
}

/// What one thread sends requests with.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    pub(super) network: &'a Network,
    /// The user's headers for every source.
    pub(super) headers: &'a HeaderMap,
    pub(super) plain: &'a RuntimeClients,
    pub(super) secure: &'a RuntimeClients,
    pub(super) cancel: CancelCheck<'a>,
}

impl<'a> Client<'a> {
    /// Requests a file, or the rest of it, and follows redirects; `on_redirect` is called for each. Headers and user
    /// info that the user gave for the URL are sent only to the URL's own origin.
    ///
    /// An effective URL is requested first, without the redirects that led there: these may lead to another mirror each
    /// time, and a validator holds for one URL only. If it refuses, the redirects are followed again.
    ///
    /// # Errors
    ///
    /// [`Error::Status`] for any status but 200, or 206 for a range; [`Error::Range`] for a 206 that is not the
    /// requested range; [`Error::Cancelled`]; or what prevented a response.
    pub fn get(&self, request: &Request<'_>, mut on_redirect: impl FnMut(&WebUrl)) -> Result<Reply<'a>, Error> {
        if let Some(effective_url) = request.effective_url {
            let chain = RedirectChain::starting_at(request.url, effective_url);
            match self.follow(request, chain, &mut on_redirect) {
                Ok(Reply::Response(response)) if !response.is_partial() => {}
                Err(failure) if matches!(failure, Error::Range(_)) || !failure.is_temporary() => {}
                result => return result,
            }
        }
        let result = self.follow(request, RedirectChain::new(request.url), &mut on_redirect);
        let Some(range) = request.conditions.range else { return result };
        match result {
            // Some servers send the requested range with a 200. So a 200 to a range request is trusted only if it is
            // known to be as long as the whole file.
            Ok(Reply::Response(response))
                if !response.is_partial()
                    && !range.is_whole_file(response.framing().length(), &response.entity_headers()) => {}
            // Others refuse any request for a range, or redirect it where it cannot be followed.
            Err(failure) if !failure.is_temporary() => {}
            result => return result,
        }
        let conditions = Conditions { range: None, ..request.conditions };
        let whole = Request { conditions, ..*request };
        self.follow(&whole, RedirectChain::new(request.url), &mut on_redirect)
    }

    /// Requests one segment of a file, of which other threads fetch the rest. See [`get`](Self::get) for the effective
    /// URL.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] for any other response than the requested range, and the errors of [`get`](Self::get).
    pub fn get_range(
        &self,
        url: &WebUrl,
        headers: &[Header],
        effective_url: Option<&WebUrl>,
        range: RangeRequest<'_>,
    ) -> Result<Response<'a>, Error> {
        let conditions = Conditions { range: Some(range), changed_since: None };
        let request = Request { url, headers, effective_url, conditions };
        let get = |chain| match self.follow(&request, chain, &mut |_| {})? {
            Reply::Response(response) if response.is_partial() => Ok(*response),
            Reply::Response(_) => Err(Error::Range("it is the whole file")),
            Reply::AlreadyComplete | Reply::NotModified => Err(Error::Range("the file has no such range")),
        };
        match effective_url.map(|effective_url| get(RedirectChain::starting_at(url, effective_url))) {
            Some(Ok(response)) => Ok(response),
            Some(Err(failure)) if failure.is_temporary() && !matches!(failure, Error::Range(_)) => Err(failure),
            _ => get(RedirectChain::new(url)),
        }
    }

    /// Sends a request along a chain of redirects, to the response at its end.
    fn follow(
        &self,
        request: &Request<'_>,
        mut chain: RedirectChain,
        on_redirect: &mut impl FnMut(&WebUrl),
    ) -> Result<Reply<'a>, Error> {
        let stall_timeout = self.network.stall_timeout;
        let Conditions { range, changed_since } = &request.conditions;
        loop {
            let response = self.send(request, &chain)?;
            match (response.status.as_u16(), range) {
                (200, _) => {
                    let response = Response::from_whole(response, chain.current(), stall_timeout)?;
                    let is_unchanged = request.conditions.is_unchanged(response.last_modified());
                    return Ok(if is_unchanged { Reply::NotModified } else { response.into() });
                }
                (304, _) if changed_since.is_some() => return Ok(Reply::NotModified),
                (206, Some(range)) => {
                    return Response::from_partial(response, chain.current(), range, stall_timeout).map(Reply::from);
                }
                (416, Some(range)) => {
                    let judged = range.judge_unsatisfied(&response.headers, chain.current());
                    return judged.map(|()| Reply::AlreadyComplete).map_err(Error::Range);
                }
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
            let failure = status_error(&response, chain.current());
            drain(response);
            return Err(failure);
        }
    }

    /// Sends one request. If it fails on a connection that may have been used before, it is sent again at once on a new
    /// one, which costs no attempt: the server may have closed the old connection at that moment, and a GET may then be
    /// repeated (RFC 9110, section 9.2.2); or bytes that belong to no response may have preceded the response.
    fn send(&self, request: &Request<'_>, chain: &RedirectChain) -> Result<RawResponse<'a>, Error> {
        let start = Instant::now();
        let is_https = chain.current().is_https();
        let clients = if is_https { self.secure } else { self.plain };
        let lazy = if is_https { &clients.secure } else { &clients.plain };
        let send = |connection| {
            let client = lazy.client(connection, || builder(self.network, is_https))?;
            let request = self.build(&client, request, chain)?;
            let on_head = lazy.note_response(connection);
            exchange::perform(clients.runtime.handle(), client, request, on_head, self.cancel)
                .map_err(|error| failure::classify_exchange(error, self.network))
        };
        let mut response = send(Connection::Reused);
        // reqwest's wait for headers includes connecting, so a longer wait for a connection has to be several.
        while matches!(response, Err(Error::ConnectTimeout(timeout)) if start.elapsed() < timeout) {
            response = send(Connection::Reused);
        }
        if matches!(response, Err(Error::Broken { .. } | Error::Protocol(_))) && lazy.note_failure() {
            response = send(Connection::New);
        }
        response.map_err(|failure| tunnel::add_proxy_status(failure, chain.current(), self.network))
    }

    fn build(
        &self,
        client: &reqwest::Client,
        request: &Request<'_>,
        chain: &RedirectChain,
    ) -> Result<reqwest::Request, Error> {
        let mut builder = client.get(chain.current().url().clone());
        if chain.is_at_origin() {
            if let Some((user, password)) = request.url.credentials() {
                builder = builder.basic_auth(user, password);
            }
            builder = builder.headers(self.headers.clone()).headers(header_map(request.headers));
        }
        if let Some(date) = request.conditions.if_modified_since() {
            builder = builder.header(header::IF_MODIFIED_SINCE, date);
        }
        if let Some(range) = &request.conditions.range {
            builder = builder.header(header::RANGE, range.range_header());
            builder = builder.header(header::IF_RANGE, range.validator.if_range());
        }
        builder.build().map_err(|error| failure::classify_request(error, self.network))
    }
}

fn builder(network: &Network, is_https: bool) -> Result<reqwest::ClientBuilder, Error> {
    // No-op if the application has already installed a provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // `read_timeout` covers the wait for headers, then each read: it is the stall time-out. reqwest's own redirects
    // would forward custom headers to other hosts.
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .default_headers(HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))]))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // Only tdl retries, and counts it.
        .retry(reqwest::retry::never().max_retries_per_request(0))
        .http1_only()
        .read_timeout(network.stall_timeout)
        // Shorter than `read_timeout`, or a connection that is never established would be reported as a stall.
        .connect_timeout(network.connect_timeout.min(network.stall_timeout.mul_f64(0.9)))
        .pool_idle_timeout(IDLE_TIMEOUT)
        .dns_resolver(Arc::new(SystemResolver))
        .tls_danger_accept_invalid_certs(network.insecure);
    let builder = proxy::configure(builder, &network.proxies)
        .map_err(|error| Error::Client { is_temporary: false, cause: error.into() })?;
    Ok(if is_https { builder } else { builder.tls_certs_only([]) })
}

/// The failure of a response whose status is neither a success nor a redirect.
fn status_error(response: &RawResponse<'_>, effective_url: &WebUrl) -> Error {
    let date = header_text(&response.headers, &header::DATE);
    let retry_after = header_text(&response.headers, &header::RETRY_AFTER)
        .and_then(|value| parse_retry_after(value, date, SystemTime::now()))
        .map(|wait| Box::new(RetryAfter { host: effective_url.host_and_port(), wait }));
    let reason = response.status.canonical_reason().unwrap_or_default();
    Error::Status { code: response.status.as_u16(), reason, retry_after }
}

/// Waits briefly for the end of a short unwanted body.
fn drain(response: RawResponse<'_>) {
    if response.content_length.is_some_and(|length| length <= MAX_DRAINED) {
        response.discard_body(DRAIN_TIMEOUT);
    }
}
