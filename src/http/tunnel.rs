//! The status by which a proxy refused a connection to an https host.
//!
//! The HTTP library keeps it to itself: its error knows 407 and "any other". But a 403 is an answer for good, and a 503
//! one for now. So after such a failure the proxy is asked once more, by hand, and only for the status.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hyper_util::client::proxy::matcher::Matcher;

use super::proxy;
use crate::error::Error;
use crate::options::{Network, Proxies, ProxyUrl};
use crate::url::WebUrl;

/// A status line longer than this is none.
const LONGEST: usize = 256;

/// A failure of asking for `url`, with the proxy's status if it is a refusal of which that is not known.
pub fn explained(failure: Error, url: &WebUrl, network: &Network) -> Error {
    if !matches!(failure, Error::Proxy { code: None }) {
        return failure;
    }
    let Ok(Proxies::Given { https: Some(proxy), .. }) = proxy::resolved(&network.proxies) else {
        return failure;
    };
    let code = status(&proxy, url, network.connect_timeout.min(network.stall_timeout)).ok().flatten();
    // One that opens the tunnel this time may do so for the next attempt as well.
    Error::Proxy { code: code.filter(|code| !(200..300).contains(code)) }
}

/// What the proxy answers this time; `None` if that is no HTTP. Only of a proxy that is spoken to in plain http: with
/// https, the connection to it would have to be made secure by hand as well.
fn status(proxy: &ProxyUrl, url: &WebUrl, longest: Duration) -> io::Result<Option<u16>> {
    let (proxy, url) = (proxy.url(), url.url());
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return Ok(None) };
    if proxy.scheme() != "http" {
        return Ok(None);
    }
    let begun = Instant::now();
    // A wait of nothing would be an error.
    let left = || longest.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
    let address = proxy.socket_addrs(|| None)?.into_iter().next().ok_or(io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, left())?;
    stream.set_write_timeout(Some(left()))?;
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(value) = authorization(proxy.as_str()) {
        request.extend([b"Proxy-Authorization: ", &*value, b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    stream.write_all(&request)?;
    let (mut answer, mut buffer) = (Vec::new(), [0; LONGEST]);
    while answer.len() < LONGEST && !answer.contains(&b'\n') {
        stream.set_read_timeout(Some(left()))?;
        match stream.read(&mut buffer)? {
            0 => break,
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(status_of(&answer))
}

/// The user info of a proxy's URL, as the library sends it.
fn authorization(proxy: &str) -> Option<Vec<u8>> {
    let matcher = Matcher::builder().all(proxy).build();
    let proxy = matcher.intercept(&hyper::Uri::from_static("https://h/"))?;
    Some(proxy.basic_auth()?.as_bytes().to_owned())
}

/// The status in a status line (RFC 9112, section 4).
fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?.strip_prefix(b"HTTP/1.")?;
    let code = line.get(2..5).filter(|_| line.get(1) == Some(&b' '))?;
    std::str::from_utf8(code).ok()?.parse().ok().filter(|code| (100..600).contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_says_the_status() {
        for (answer, status) in [
            (&b"HTTP/1.1 403 Forbidden\r\n\r\n"[..], Some(403)),
            (b"HTTP/1.0 503\r\n", Some(503)),
            (b"HTTP/1.1 200 Connection established\r\n", Some(200)),
            (b"HTTP/1.1 40", None),
            (b"HTTP/1.1 +40 x\r\n", None),
            (b"HTTP/1.1 999 x\r\n", None),
            (b"SSH-2.0-x\r\n", None),
            (b"", None),
        ] {
            assert_eq!(status_of(answer), status, "{}", String::from_utf8_lossy(answer));
        }
    }

    #[test]
    fn user_info_is_sent_as_the_library_sends_it() {
        assert_eq!(authorization("http://user:p%40ss@proxy/").as_deref(), Some(&b"Basic dXNlcjpwQHNz"[..]));
        assert_eq!(authorization("http://proxy/"), None);
    }
}
