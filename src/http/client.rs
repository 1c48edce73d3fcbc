//! Asking for a URL: a few clients that threads share, one request with its redirects, and the answer's body.

use std::io::Read as _;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use reqwest::blocking as http;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::failure;
use super::redirect::Hops;
use crate::error::Failure;
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
    plain: OnceLock<Result<http::Client, String>>,
    secure: OnceLock<Result<http::Client, String>>,
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
        }
    }

    /// Asks for a URL and follows its redirects. What the user gave for the URL, headers and user info,
    /// goes to the URL's own origin only. `on_redirect` hears of each hop.
    ///
    /// # Errors
    ///
    /// Any status but 200, and whatever keeps the answer from coming.
    pub fn get(
        &self,
        url: &WebUrl,
        mut on_redirect: impl FnMut(&WebUrl),
    ) -> Result<Answer, Failure> {
        let mut hops = Hops::from(url);
        loop {
            let response = self.request(url, &hops)?;
            let status = response.status();
            if status == reqwest::StatusCode::OK {
                return Ok(Answer::new(response, self.network.stall_timeout));
            }
            let location = response.headers().get(header::LOCATION).cloned();
            drain(response);
            match (status.as_u16(), location) {
                (301 | 302 | 303 | 307 | 308, Some(location)) => {
                    hops.follow(location.as_bytes())?;
                }
                (code, _) => {
                    return Err(Failure::Status {
                        code,
                        reason: status.canonical_reason().unwrap_or_default(),
                    });
                }
            }
            on_redirect(hops.current());
        }
    }

    fn request(&self, url: &WebUrl, hops: &Hops) -> Result<http::Response, Failure> {
        let client = self.for_url(hops.current())?;
        let mut request = client.get(hops.current().unredacted());
        if hops.is_at_origin() {
            if let Some((user, password)) = url.credentials() {
                request = request.basic_auth(user, password);
            }
            request = request.headers(self.headers.clone());
        }
        request.send().map_err(|error| {
            failure::of_request(
                error,
                self.network.stall_timeout,
                self.network.connect_timeout,
            )
        })
    }

    fn for_url(&self, url: &WebUrl) -> Result<&http::Client, Failure> {
        let slot = if url.is_https() {
            &self.secure
        } else {
            &self.plain
        };
        let client = slot.get_or_init(|| {
            let builder = builder(&self.network);
            let builder = if url.is_https() {
                builder
            } else {
                builder.tls_certs_only([])
            };
            builder
                .build()
                .map_err(|error| failure::of_request(error, Duration::ZERO, Duration::ZERO).chain())
        });
        client.as_ref().map_err(|why| Failure::Client(why.clone()))
    }
}

fn builder(network: &Network) -> http::ClientBuilder {
    // The library's `timeout` covers the wait for headers and then each read anew: it is the stall time-out.
    // Its own redirects would forward custom headers to other hosts.
    http::Client::builder()
        .user_agent(USER_AGENT)
        .default_headers(HeaderMap::from_iter([(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        )]))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .http1_only()
        .timeout(network.stall_timeout)
        .connect_timeout(network.connect_timeout)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tls_danger_accept_invalid_certs(network.insecure)
}

/// Reads a short body to its end.
fn drain(mut response: http::Response) {
    if response
        .content_length()
        .is_some_and(|length| length <= DRAINED)
    {
        let _ = std::io::copy(&mut response, &mut std::io::sink());
    }
}

/// An answer of status 200, its body still to be read.
#[derive(Debug)]
pub struct Answer {
    response: http::Response,
    length: Option<u64>,
    received: u64,
    stall_timeout: Duration,
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By the length that was announced.
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
    fn new(response: http::Response, stall_timeout: Duration) -> Self {
        // Asked for later, once reading has begun, the library says 0.
        let length = response.content_length();
        Self {
            response,
            length,
            received: 0,
            stall_timeout,
        }
    }

    /// How the end of the body will be known.
    #[must_use]
    pub fn framing(&self) -> Framing {
        match self.length {
            Some(length) => Framing::Length(length),
            None if self
                .response
                .headers()
                .contains_key(header::TRANSFER_ENCODING) =>
            {
                Framing::Chunked
            }
            None => Framing::Close,
        }
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// When the server says that the file was changed last (RFC 9110, section 8.8.2), to the second.
    #[must_use]
    pub fn last_modified(&self) -> Option<SystemTime> {
        let value = self
            .response
            .headers()
            .get(header::LAST_MODIFIED)?
            .to_str()
            .ok()?;
        httpdate::parse_http_date(value).ok()
    }

    /// Reads the next bytes of the body; 0 at its end.
    ///
    /// # Errors
    ///
    /// A stall, or an end before the announced one.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let count = self.response.read(buffer).map_err(|error| {
            failure::of_body(&error, self.received, self.length, self.stall_timeout)
        })?;
        self.received += count as u64;
        match self.length {
            Some(expected) if count == 0 && self.received != expected => Err(Failure::Truncated {
                received: self.received,
                expected,
            }),
            _ => Ok(count),
        }
    }
}
