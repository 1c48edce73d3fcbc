//! The client of one thread: follows redirects, and resends requests that failed on a stale connection. `request`
//! validates response headers; `run` decides about retries.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{self, HeaderMap};

use super::configure::configure_client;
use super::connection_pool::{Connection, ConnectionPool};
use super::exchange::{self, RawResponse, Reader};
use super::headers::{header_map, header_text};
use super::interrupt::Interrupt;
use super::redirect::RedirectChain;
use super::request::{Conditions, Request};
use super::response::{Reply, Response};
use super::retry_after::parse_retry_after;
use super::runtime::Runtime;
use super::traffic::Traffic;
use super::{failure, tunnel};
use crate::error::{Error, RetryAfter};
use crate::options::Network;
use crate::url::WebUrl;

/// The maximum length of an unwanted body that is drained.
const MAX_DRAINED: u64 = 16 * 1024;

/// The maximum time to spend on draining an unwanted body.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);

/// Sends the requests of one thread.
#[derive(Debug)]
pub struct Client<'a> {
    pub(super) network: &'a Network,
    /// The user's headers for every source.
    pub(super) headers: &'a HeaderMap,
    pub(super) http: Transport<'a>,
    pub(super) https: Transport<'a>,
    pub(super) reader: Reader<'a>,
}

/// A pool of connections, and the runtime that does their network I/O.
#[derive(Debug, Clone, Copy)]
pub struct Transport<'a> {
    pub runtime: &'a Runtime,
    pub pool: &'a ConnectionPool,
}

impl<'a> Client<'a> {
    /// What interrupts the waits of this client and of its responses.
    #[must_use]
    pub const fn interrupt(&self) -> &Arc<Interrupt> {
        &self.reader.interrupt
    }

    /// Counts from now on in `traffic` what arrives.
    pub const fn count_in(&mut self, traffic: Option<&'a Traffic>) {
        self.reader.traffic = traffic;
    }

    /// Requests a file, or the rest of it, and follows redirects; `on_redirect` is called for each. Headers and user
    /// info that the user gave for the URL are sent only to the URL's own origin.
    ///
    /// If neither the effective URL nor the URL itself serves the requested range, the whole file is requested. So this
    /// may send up to three requests, not counting redirects and repeated attempts to connect.
    ///
    /// # Errors
    ///
    /// [`Error::Status`] for any status that is neither a success nor what a condition asked for; [`Error::Range`] for
    /// a 206 that is not the requested range; [`Error::Cancelled`]; or what prevented a response.
    pub fn get(&self, request: &Request<'_>, mut on_redirect: impl FnMut(&WebUrl)) -> Result<Reply<'a>, Error> {
        let result = self.request_effective_url_first(request, &mut on_redirect);
        let Some(range) = request.conditions.range else { return result };
        match result {
            // Some servers send the requested range with a 200. So a 200 to a range request is trusted only if it is
            // known to be as long as the whole file.
            Ok(Reply::Response(response))
                if !response.is_partial()
                    && !range.is_whole_file(response.framing().length(), &response.entity_headers()) => {}
            // Other servers refuse any range request, or redirect it to a location that cannot be followed.
            Err(failure) if !failure.is_temporary() => {}
            result => return result,
        }
        let conditions = Conditions { range: None, ..request.conditions };
        let whole = Request { conditions, ..*request };
        self.follow(&whole, RedirectChain::new(request.url), &mut on_redirect)
    }

    /// Requests one segment of a file while other threads fetch the rest.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] for any response other than the requested range, and the errors of [`get`](Self::get).
    pub fn get_range(&self, request: &Request<'_>) -> Result<Response<'a>, Error> {
        match self.request_effective_url_first(request, &mut |_| {})? {
            Reply::Response(response) if response.is_partial() => Ok(*response),
            Reply::Response(_) => Err(Error::Range("it is the whole file")),
            Reply::AlreadyComplete | Reply::NotModified => Err(Error::Range("the file has no such range")),
        }
    }

    /// Requests the effective URL, if it is known, without the redirects that led there: they may lead to a different
    /// server each time, and a validator applies to one URL only. If that URL refuses or sends the whole file, the
    /// redirects are followed again.
    fn request_effective_url_first(
        &self,
        request: &Request<'_>,
        on_redirect: &mut impl FnMut(&WebUrl),
    ) -> Result<Reply<'a>, Error> {
        if let Some(effective_url) = request.effective_url {
            let chain = RedirectChain::starting_at(request.url, effective_url);
            match self.follow(request, chain, on_redirect) {
                Ok(Reply::Response(response)) if !response.is_partial() => {}
                Err(failure) if matches!(failure, Error::Range(_)) || !failure.is_temporary() => {}
                result => return result,
            }
        }
        self.follow(request, RedirectChain::new(request.url), on_redirect)
    }

    /// Sends a request, and follows redirects to the final response.
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
            match (response.head.status.as_u16(), range) {
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
                    let judged = range.judge_unsatisfied(&response.head.headers, chain.current());
                    return judged.map(|()| Reply::AlreadyComplete).map_err(Error::Range);
                }
                (301 | 302 | 303 | 307 | 308, _) => {
                    if let Some(location) = response.head.headers.get(header::LOCATION).cloned() {
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

    /// Sends one request. If it fails on a connection that may have been used before, it is resent at once on a new
    /// one, which does not count as an attempt. The server may have closed the old connection at that moment, and a GET
    /// may then be repeated (RFC 9110, section 9.2.2). Or stray bytes may have preceded the response.
    fn send(&self, request: &Request<'_>, chain: &RedirectChain) -> Result<RawResponse<'a>, Error> {
        let start = Instant::now();
        let is_https = chain.current().is_https();
        let Transport { runtime, pool } = if is_https { self.https } else { self.http };
        let send = |connection| {
            let client = pool.client(connection, || configure_client(self.network, is_https))?;
            let request = self.build(&client, request, chain)?;
            let on_head = pool.response_callback(connection);
            exchange::perform(runtime.handle(), client, request, on_head, self.reader.clone())
                .map_err(|error| failure::classify_exchange(error, self.network))
        };
        let mut response = send(Connection::Reused);
        // reqwest's wait for headers includes connecting, so a longer connect timeout takes several tries.
        while matches!(response, Err(Error::ConnectTimeout(timeout)) if start.elapsed() < timeout) {
            response = send(Connection::Reused);
        }
        if matches!(response, Err(Error::Broken { .. } | Error::Protocol(_))) && pool.note_failure() {
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
        let mut builder = client.get(chain.current().unredacted());
        if chain.is_at_origin() {
            if let Some((user, password)) = request.url.credentials() {
                builder = builder.basic_auth(user, password);
            }
            if request.sends_common_headers {
                builder = builder.headers(self.headers.clone());
            }
            builder = builder.headers(header_map(request.headers));
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

/// The failure of a response whose status is neither a success nor a redirect.
fn status_error(response: &RawResponse<'_>, effective_url: &WebUrl) -> Error {
    let date = header_text(&response.head.headers, &header::DATE);
    let retry_after = header_text(&response.head.headers, &header::RETRY_AFTER)
        .and_then(|value| parse_retry_after(value, date, SystemTime::now()))
        .map(|wait| Box::new(RetryAfter { host: effective_url.host_and_port(), wait }));
    let reason = response.head.status.canonical_reason().unwrap_or_default();
    Error::Status { code: response.head.status.as_u16(), reason, retry_after }
}

/// Waits briefly for the end of a short unwanted body, so that its connection can be reused.
fn drain(response: RawResponse<'_>) {
    if response.head.content_length.is_some_and(|length| length <= MAX_DRAINED) {
        response.discard_body(DRAIN_TIMEOUT);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, ErrorKind, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::thread;

    use super::*;
    use crate::http::RangeRequest;
    use crate::http::{Clients, EntityHeaders, Validator};
    use crate::options::{Header, Proxies};

    fn network(headers: &[&str]) -> Network {
        let headers = headers.iter().map(|line| Header::parse(line).unwrap()).collect();
        let proxies = Proxies::Given { http: None, https: None, except: Vec::new() };
        Network { headers, proxies, ..Network::default() }
    }

    fn listen() -> (TcpListener, WebUrl) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = WebUrl::parse(&format!("http://{}/file", listener.local_addr().unwrap())).unwrap();
        (listener, url)
    }

    fn request(url: &WebUrl) -> Request<'_> {
        let conditions = Conditions::default();
        Request { url, sends_common_headers: true, headers: &[], effective_url: None, conditions }
    }

    /// Accepts a connection, and reads the head of a request.
    fn accept(listener: &TcpListener) -> (TcpStream, Vec<String>) {
        let (stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        let head = lines.take_while(|line| !line.is_empty()).collect();
        (stream, head)
    }

    /// Waits for the client to close the connection.
    fn assert_closed(mut stream: &TcpStream) {
        stream.set_read_timeout(Some(Network::default().stall_timeout / 2)).unwrap();
        match stream.read(&mut [0]) {
            Ok(0) => {}
            result => assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset),
        }
    }

    #[test]
    fn a_refused_connection_says_something_about_the_host() {
        let (listener, url) = listen();
        drop(listener);
        let clients = Clients::new(&network(&[]), 1, 1).unwrap();
        let failure = clients.for_thread(0, &|| false).get(&request(&url), |_| {}).map(drop).unwrap_err();
        assert!(failure.is_refusal(), "{failure:?}");
    }

    #[test]
    fn a_request_without_a_response_ends_when_it_is_cancelled() {
        let (listener, url) = listen();
        let validator = EntityHeaders { etag: Some("\"a\"".to_owned()), ..EntityHeaders::default() };
        let validator = Validator::of(validator, None).unwrap();
        let range = RangeRequest { from: 1, to: None, validator: &validator, length: Some(2) };
        let clients = Clients::new(&network(&[]), 1, 1).unwrap();
        for is_range in [false, true] {
            let cancelled = AtomicBool::new(false);
            let is_cancelled = || cancelled.load(SeqCst);
            let client = clients.for_thread(0, &is_cancelled);
            let get = || match is_range {
                true => {
                    let conditions = Conditions { range: Some(range), changed_since: None };
                    client.get_range(&Request { conditions, ..request(&url) }).map(drop)
                }
                false => client.get(&request(&url), |_| {}).map(drop),
            };
            thread::scope(|scope| {
                let get = scope.spawn(get);
                let (stream, _) = accept(&listener);
                cancelled.store(true, SeqCst);
                let result = get.join().unwrap();
                assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
                assert_closed(&stream);
            });
        }
        // No request was sent again.
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err());
    }

    #[test]
    fn a_body_that_stalls_ends_when_it_is_cancelled() {
        let (listener, url) = listen();
        let cancelled = AtomicBool::new(false);
        let is_cancelled = || cancelled.load(SeqCst);
        let clients = Clients::new(&network(&[]), 1, 1).unwrap();
        let client = clients.for_thread(0, &is_cancelled);
        thread::scope(|scope| {
            let server = scope.spawn(|| {
                let (mut stream, _) = accept(&listener);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").unwrap();
                stream
            });
            let Ok(Reply::Response(mut response)) = client.get(&request(&url), |_| {}) else { panic!() };
            let stream = server.join().unwrap();
            let mut buffer = [0; 10];
            while response.position() < 5 {
                response.read(&mut buffer).unwrap();
            }
            let read = scope.spawn(move || response.read(&mut buffer));
            cancelled.store(true, SeqCst);
            let result = read.join().unwrap();
            assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
            assert_closed(&stream);
        });
    }

    #[test]
    fn a_body_that_has_arrived_is_read_although_it_is_cancelled() {
        let (listener, url) = listen();
        let cancelled = AtomicBool::new(false);
        let is_cancelled = || cancelled.load(SeqCst);
        let clients = Clients::new(&network(&[]), 1, 1).unwrap();
        let client = clients.for_thread(0, &is_cancelled);
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = accept(&listener);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
            });
            let Ok(Reply::Response(mut response)) = client.get(&request(&url), |_| {}) else { panic!() };
            let mut buffer = [0; 1];
            assert_eq!(response.read(&mut buffer).unwrap(), 1);
            cancelled.store(true, SeqCst);
            // One write, one frame: the rest of it is in the buffer.
            for position in 2..=5 {
                assert_eq!(response.read(&mut buffer).unwrap(), 1);
                assert_eq!(response.position(), position);
            }
            assert!(response.is_fully_read());
        });
    }

    #[test]
    fn headers_of_a_source_replace_global_ones_and_stay_at_its_origin() {
        let ((listener, url), (elsewhere, target)) = (listen(), listen());
        let clients = Clients::new(&network(&["Accept: all", "Cookie: a=1"]), 1, 1).unwrap();
        let headers = [Header::parse("Accept: text").unwrap(), Header::parse("X-Token: secret").unwrap()];
        thread::scope(|scope| {
            scope.spawn(|| {
                let client = clients.for_thread(0, &|| false);
                let request = Request { headers: &headers, ..request(&url) };
                client.get(&request, |_| {}).map(drop).unwrap_err();
            });
            let own = ["accept: text", "x-token: secret", "cookie: a=1"];
            let has = |head: &[String], header: &str| head.iter().any(|line| line.eq_ignore_ascii_case(header));
            let (mut stream, head) = accept(&listener);
            assert!(own.iter().all(|header| has(&head, header)) && !has(&head, "accept: all"), "{head:?}");
            let location = target.unredacted();
            write!(stream, "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").unwrap();
            let (mut stream, head) = accept(&elsewhere);
            assert!(!own.iter().any(|header| has(&head, header)) && !has(&head, "accept: all"), "{head:?}");
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
        });
    }
}
