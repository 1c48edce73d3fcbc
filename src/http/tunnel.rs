//! Finds out with which status a proxy refused a tunnel to an https host.
//!
//! The HTTP library does not report it: its error distinguishes only 407 and "any other". But a 403 is permanent and a
//! 503 temporary. So after such a failure, one more CONNECT is sent by hand, only for its status.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hyper_util::client::proxy::matcher::Matcher;

use super::proxy;
use crate::error::Error;
use crate::options::{Network, Proxies, ProxyUrl};
use crate::url::WebUrl;

/// The maximum number of bytes read for a status line.
const MAX_STATUS_LINE: usize = 256;

/// Adds the proxy's status to the failure of a request for `url`, if a proxy refused it with an unknown status.
pub fn add_proxy_status(failure: Error, url: &WebUrl, network: &Network) -> Error {
    if !matches!(failure, Error::Proxy { code: None }) {
        return failure;
    }
    let Ok(Proxies::Given { https: Some(proxy), .. }) = proxy::resolve(&network.proxies) else {
        return failure;
    };
    let code = request_status(&proxy, url, network.connect_timeout.min(network.stall_timeout)).ok().flatten();
    // A proxy that opens the tunnel this time may also do so for the next attempt.
    Error::Proxy { code: code.filter(|code| !(200..300).contains(code)) }
}

/// Sends a CONNECT and returns the status; `None` if the response is not HTTP. Works only for a proxy with an http URL:
/// an https one would need a TLS handshake by hand as well.
fn request_status(proxy: &ProxyUrl, url: &WebUrl, timeout: Duration) -> io::Result<Option<u16>> {
    let (proxy, host) = (proxy.url(), url.host_and_port());
    if proxy.scheme() != "http" {
        return Ok(None);
    }
    let start = Instant::now();
    // A timeout of zero would be an error.
    let left = || timeout.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
    let address = proxy.socket_addrs(|| None)?.into_iter().next().ok_or(io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, left())?;
    stream.set_write_timeout(Some(left()))?;
    let mut request = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
    if let Some(value) = authorization(proxy.as_str()) {
        request.extend([b"Proxy-Authorization: ", &*value, b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    stream.write_all(&request)?;
    let (mut response, mut buffer) = (Vec::new(), [0; MAX_STATUS_LINE]);
    while response.len() < MAX_STATUS_LINE && !response.contains(&b'\n') {
        stream.set_read_timeout(Some(left()))?;
        match stream.read(&mut buffer)? {
            0 => break,
            count => response.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(parse_status(&response))
}

/// The `Proxy-Authorization` that the library sends for the user info in a proxy's URL.
fn authorization(proxy: &str) -> Option<Vec<u8>> {
    let matcher = Matcher::builder().all(proxy).build();
    let proxy = matcher.intercept(&hyper::Uri::from_static("https://h/"))?;
    Some(proxy.basic_auth()?.as_bytes().to_owned())
}

/// Parses the status code in a status line (RFC 9112, section 4).
fn parse_status(response: &[u8]) -> Option<u16> {
    let line = response.split(|byte| *byte == b'\n').next()?.strip_prefix(b"HTTP/1.")?;
    let code = line.get(2..5).filter(|_| line.get(1) == Some(&b' '))?;
    std::str::from_utf8(code).ok()?.parse().ok().filter(|code| (100..600).contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_parsed_from_a_status_line() {
        for (response, status) in [
            (&b"HTTP/1.1 403 Forbidden\r\n\r\n"[..], Some(403)),
            (b"HTTP/1.0 503\r\n", Some(503)),
            (b"HTTP/1.1 200 Connection established\r\n", Some(200)),
            (b"HTTP/1.1 40", None),
            (b"HTTP/1.1 +40 x\r\n", None),
            (b"HTTP/1.1 999 x\r\n", None),
            (b"SSH-2.0-x\r\n", None),
            (b"", None),
        ] {
            assert_eq!(parse_status(response), status, "{}", String::from_utf8_lossy(response));
        }
    }

    #[test]
    fn user_info_is_sent_as_the_library_sends_it() {
        assert_eq!(authorization("http://user:p%40ss@proxy/").as_deref(), Some(&b"Basic dXNlcjpwQHNz"[..]));
        assert_eq!(authorization("http://proxy/"), None);
    }
}
