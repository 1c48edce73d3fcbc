//! The options of a run: resolved once and never changed afterwards. Each group goes to the modules that need it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

/// All options of a run. `Options::default()` is what `tdl fetch` does without options.
///
/// More options may be added, so construct this with `Options::default()` and set fields:
///
/// ```
/// use std::num::NonZeroUsize;
///
/// let mut options = tdl::Options::default();
/// options.output.directory = "downloads".into();
/// options.limits.jobs = NonZeroUsize::new(8).unwrap();
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// How requests are made.
    pub network: Network,
    /// How many times failures are retried.
    pub retry: Retry,
    /// How much happens concurrently, and when to stop.
    pub limits: Limits,
    /// Where files go, and what happens to existing ones.
    pub output: Output,
}

/// How requests are made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Network {
    /// Give up on connecting after this time. If it is longer than the stall timeout, several connection attempts are
    /// made within it. Must not be zero: requests would time out at once.
    pub connect_timeout: Duration,
    /// Give up on a request after this time without a byte, before the headers as well as within the body. Must not be
    /// zero: requests would time out at once.
    pub stall_timeout: Duration,
    /// Sent to each URL's own origin, never to one that a redirect leads to.
    pub headers: Vec<Header>,
    /// Accept any certificate.
    pub insecure: bool,
    /// The proxies that requests go through.
    pub proxies: Proxies,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            headers: Vec::new(),
            insecure: false,
            proxies: Proxies::default(),
        }
    }
}

/// The proxies that requests go through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Proxies {
    /// From the environment, or else the system settings.
    #[default]
    System,
    /// These, and no others.
    Given {
        /// For http URLs.
        http: Option<ProxyUrl>,
        /// For https URLs.
        https: Option<ProxyUrl>,
        /// Hosts to connect to directly: domain names (including all subdomains), addresses and networks.
        except: Vec<String>,
    },
}

/// The URL of a proxy. Its `Debug` output hides the credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

impl ProxyUrl {
    /// Parses `SCHEME://USER:PASSWORD@HOST:PORT`. The scheme defaults to http; `socks` means socks5.
    ///
    /// # Errors
    ///
    /// Returns [`ProxyUrlError`] if this is not a proxy URL. The error shows only the scheme: the rest may be secret.
    pub fn parse(text: &str) -> Result<Self, ProxyUrlError> {
        let text = match text.trim().split_once("://") {
            None => format!("http://{}", text.trim()),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("socks") => format!("socks5://{rest}"),
            Some(_) => text.trim().to_owned(),
        };
        let url = Url::parse(&text).map_err(|_| ProxyUrlError::Malformed)?;
        if !matches!(url.scheme(), "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h") {
            return Err(ProxyUrlError::Scheme(url.scheme().to_owned()));
        }
        // The characters that the HTTP library accepts in a host. It silently ignores a proxy with any other host.
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        if !url.host_str().is_some_and(|host| !host.is_empty() && host.chars().all(is_host)) {
            return Err(ProxyUrlError::Malformed);
        }
        Ok(Self(url))
    }

    /// The whole URL, including credentials.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.0
    }
}

impl std::fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProxyUrl({}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        self.0.port().map_or(Ok(()), |port| write!(f, ":{port}"))?;
        f.write_str(")")
    }
}

/// Why a string is not a proxy URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyUrlError {
    /// The scheme is not one of http, https, socks4, socks4a, socks5 and socks5h.
    #[error("unsupported proxy scheme '{0}'")]
    Scheme(String),
    /// It has no valid host, has an invalid port, or is not a URL at all.
    #[error("not a valid proxy URL")]
    Malformed,
}

/// How many times failures are retried.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Retry {
    /// Give up on a download after this many retries without progress.
    pub retries: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { retries: 5 }
    }
}

/// How much happens concurrently, and when to stop.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Whether downloads are concurrent.
    pub mode: Mode,
    /// Maximum number of threads.
    pub jobs: NonZeroUsize,
    /// Maximum number of simultaneous requests to one host and port. The run finds by itself how many are best.
    pub per_host: NonZeroUsize,
    /// Let idle threads fetch segments of files that other threads are downloading.
    pub split: bool,
    /// Start nothing new after the first permanent failure.
    pub fail_fast: bool,
    /// Stop the run after this time; unfinished downloads then fail temporarily. With zero, nothing is downloaded.
    pub max_time: Option<Duration>,
    /// Maximum size of a file in bytes. A larger one fails, before its body is read if its length is announced.
    pub max_filesize: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            mode: Mode::Concurrent,
            jobs: NonZeroUsize::new(64).unwrap_or(NonZeroUsize::MIN),
            per_host: NonZeroUsize::new(64).unwrap_or(NonZeroUsize::MIN),
            split: true,
            fail_fast: false,
            max_time: None,
            max_filesize: None,
        }
    }
}

/// Whether the downloads of a run are concurrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Threads share the list. If it has at most [`jobs`](Limits::jobs) entries, there is a thread for each download.
    #[default]
    Concurrent,
    /// A plain loop in the calling thread.
    Sequential,
}

impl Mode {
    /// Returns its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Concurrent => "concurrent",
            Self::Sequential => "sequential",
        }
    }
}

/// Where files go, and what happens to existing ones.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Output {
    /// The directory for every file; created if missing.
    pub directory: PathBuf,
    /// What to do if a target already exists.
    pub if_exists: IfExists,
    /// Name files as the server does: by the `Content-Disposition` of its response, or else by the URL that responded,
    /// after redirects. Entries that have a target keep it. The name is not known before a request, so every file is
    /// requested; [`if_exists`](Self::if_exists) applies to the file that has the server's name. A name that another
    /// download of the run has becomes `name-2.ext`, and so on.
    pub remote_name: bool,
    /// Sync each file and its name to disk before it counts as fetched, so that finished files survive a power failure.
    pub fsync: bool,
}

impl Default for Output {
    fn default() -> Self {
        Self { directory: PathBuf::from("."), if_exists: IfExists::Skip, remote_name: false, fsync: false }
    }
}

/// What to do if a target already exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfExists {
    /// Skip the download. The existing file is not checked, but the download fails if tdl fetched that file from another
    /// URL ([`Error::FromAnotherUrl`](crate::Error::FromAnotherUrl)).
    #[default]
    Skip,
    /// Replace it once the new file is complete.
    Overwrite,
    /// Keep it, and save the new file under the next free name.
    Rename,
    /// Replace it if, according to the server, the file has changed since the existing one's modification time
    /// (`If-Modified-Since`). Another URL's file fails the download, as with [`Skip`](Self::Skip). With
    /// [`remote_name`](Output::remote_name), the same as `Skip`: which file to ask about is not known in time.
    Update,
    /// Fail the download.
    Fail,
}

/// A request header: a token and a value without line breaks (RFC 9110, section 5). Its `Debug` output hides the value.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    name: String,
    value: String,
}

impl Header {
    /// Parses `Name: value`.
    ///
    /// # Errors
    ///
    /// Returns [`HeaderError`] if the line is not a header, or is one that tdl sets itself and relies on to check
    /// responses.
    pub fn parse(line: &str) -> Result<Self, HeaderError> {
        let (name, value) = line.split_once(':').ok_or(HeaderError::NoColon)?;
        let (name, value) = (name.trim(), value.trim());
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) {
            return Err(HeaderError::Name);
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(HeaderError::Value(name.to_owned()));
        }
        const RESERVED: [&str; 8] =
            ["accept-encoding", "connection", "content-length", "host", "if-range", "range", "te", "transfer-encoding"];
        if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(HeaderError::Reserved(name.to_owned()));
        }
        if name.eq_ignore_ascii_case("proxy-authorization") {
            return Err(HeaderError::ForProxy);
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }

    /// The name, in its original case.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value, without the white space around it.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether it carries credentials: `Authorization` or `Cookie`.
    #[must_use]
    pub fn is_credential(&self) -> bool {
        ["authorization", "cookie"].iter().any(|name| self.name.eq_ignore_ascii_case(name))
    }
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Header({}: ***)", self.name)
    }
}

/// Why a line is not a header that can be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It has no colon.
    #[error("expected 'Name: value'")]
    NoColon,
    /// The name is empty, or not a token.
    #[error("not a valid header name")]
    Name,
    /// The value has a control character.
    #[error("the value of {0} contains a control character")]
    Value(String),
    /// tdl sets this header itself, and checks the response against it.
    #[error("{0} is set by tdl itself")]
    Reserved(String),
    /// `Proxy-Authorization` would send the proxy's password to every server.
    #[error(
        "it would be sent to the servers; put the credentials in the proxy URL, as in \
         http_proxy=http://USER:PASSWORD@HOST:PORT"
    )]
    ForProxy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_a_token_for_a_name_and_a_single_line_value() {
        let header = Header::parse("X-Api-Key:  a b ").unwrap();
        assert_eq!((header.name(), header.value()), ("X-Api-Key", "a b"));
        assert!(!format!("{header:?}").contains("a b"));
        for (line, error) in [
            ("no colon", HeaderError::NoColon),
            (": value", HeaderError::Name),
            ("two words: x", HeaderError::Name),
            ("X: a\r\nY: b", HeaderError::Value("X".to_owned())),
            ("rAnge: bytes=0-", HeaderError::Reserved("rAnge".to_owned())),
            ("Host: elsewhere", HeaderError::Reserved("Host".to_owned())),
            ("proxy-authorization: Basic x", HeaderError::ForProxy),
        ] {
            assert_eq!(Header::parse(line), Err(error), "{line}");
        }
    }

    #[test]
    fn proxy_urls_are_normalized_or_refused() {
        for (text, url) in [
            ("http://proxy:3128", "http://proxy:3128/"),
            ("proxy:3128", "http://proxy:3128/"),
            ("proxy", "http://proxy/"),
            ("user:pass@proxy:3128", "http://user:pass@proxy:3128/"),
            (" HTTPS://proxy ", "https://proxy/"),
            ("[::1]:3128", "http://[::1]:3128/"),
            ("socks://127.0.0.1:1080/", "socks5://127.0.0.1:1080/"),
            ("SOCKS5h://u:p%40ss@proxy", "socks5h://u:p%40ss@proxy"),
            ("socks4a://proxy:1", "socks4a://proxy:1"),
        ] {
            assert_eq!(ProxyUrl::parse(text).unwrap().url().as_str(), url, "{text}");
        }
        let scheme = |scheme: &str| ProxyUrlError::Scheme(scheme.to_owned());
        for (text, error) in [
            ("ftp://secret@proxy:1", scheme("ftp")),
            ("file:///etc/passwd", scheme("file")),
            ("not a url", ProxyUrlError::Malformed),
            ("", ProxyUrlError::Malformed),
            ("http://", ProxyUrlError::Malformed),
            ("socks5://", ProxyUrlError::Malformed),
            ("socks5://:1080", ProxyUrlError::Malformed),
            ("socks5://pro%20xy", ProxyUrlError::Malformed),
            ("proxy:port", ProxyUrlError::Malformed),
            ("proxy:65536", ProxyUrlError::Malformed),
            ("http:///proxy name", ProxyUrlError::Malformed),
        ] {
            assert_eq!(ProxyUrl::parse(text), Err(error), "{text}");
        }
        let shown = format!("{:?}", ProxyUrl::parse("user:pass@proxy:3128").unwrap());
        assert_eq!(shown, "ProxyUrl(http://proxy:3128)");
    }

    #[test]
    fn credential_headers_are_recognized_in_any_case() {
        assert!(Header::parse("COOKIE: a=b").unwrap().is_credential());
        assert!(!Header::parse("Accept: */*").unwrap().is_credential());
    }
}
