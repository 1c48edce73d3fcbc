//! What a run was asked to do, resolved once and never changed. Each group goes to the modules that
//! need it; no module is handed all of them without a reason.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

/// Every choice of a run. `Options::default()` is what `tdl fetch` does without options.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How servers are asked.
    pub network: Network,
    /// What is tried again, and how often.
    pub retry: Retry,
    /// How much happens at once.
    pub limits: Limits,
    /// Where files go, and what happens to those already there.
    pub output: Output,
}

/// How servers are asked.
#[derive(Debug, Clone)]
pub struct Network {
    /// The longest wait for a connection. One that is longer than the stall time-out is made of several, each with a
    /// new try to connect.
    pub connect_timeout: Duration,
    /// The longest wait for headers, and for each next byte of a body.
    pub stall_timeout: Duration,
    /// Sent to each list URL's own origin, and to no other.
    pub headers: Vec<Header>,
    /// Take any certificate, or none that can be checked.
    pub insecure: bool,
    /// What requests go through.
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
    /// Those that the environment names, or else the system's settings, where it has any.
    #[default]
    System,
    /// These and no others.
    Given {
        /// For http URLs.
        http: Option<ProxyUrl>,
        /// For https URLs.
        https: Option<ProxyUrl>,
        /// Hosts that are asked directly: names, which stand for all below them too, addresses and networks.
        except: Vec<String>,
    },
}

/// Where a proxy is and how it is spoken to. Does not show its user info.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

impl ProxyUrl {
    /// Reads `SCHEME://USER:PASSWORD@HOST:PORT`. Without a scheme it is http; `socks` is taken for socks5.
    ///
    /// # Errors
    ///
    /// [`ProxyUrlError`], which shows nothing of the text but the scheme.
    pub fn parse(text: &str) -> Result<Self, ProxyUrlError> {
        let text = match text.trim().split_once("://") {
            None => format!("http://{}", text.trim()),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("socks") => format!("socks5://{rest}"),
            Some(_) => text.trim().to_owned(),
        };
        let url = Url::parse(&text).map_err(|_| ProxyUrlError::NoUrl)?;
        if !matches!(url.scheme(), "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h") {
            return Err(ProxyUrlError::Scheme(url.scheme().to_owned()));
        }
        // Such as the library that speaks to proxies takes; what it does not take, it would ignore.
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        if !url.host_str().is_some_and(|host| !host.is_empty() && host.chars().all(is_host)) {
            return Err(ProxyUrlError::NoUrl);
        }
        Ok(Self(url))
    }

    /// The URL with all that is in it.
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

/// Why a text is no URL of a proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyUrlError {
    /// There is no proxy of this scheme.
    #[error("no proxy is of the scheme {0}")]
    Scheme(String),
    /// It has no host, or a port that is none, or is no URL at all.
    #[error("not the URL of a proxy")]
    NoUrl,
}

/// What is tried again, and how often.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Retries of one download after failures that may pass.
    pub retries: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { retries: 5 }
    }
}

/// How much happens at once.
#[derive(Debug, Clone)]
pub struct Limits {
    /// One after another, or side by side.
    pub mode: Mode,
    /// Threads at once; at least one.
    pub jobs: usize,
    /// Requests in flight to one host and port; at least one.
    pub per_host: usize,
    /// Threads with nothing else to start get parts of what others are getting.
    pub split: bool,
    /// Start nothing new after the first failure for good.
    pub fail_fast: bool,
    /// The longest that the run may take; what is unfinished then fails for now.
    pub max_time: Option<Duration>,
    /// The longest file in bytes; a longer one fails, if possible before a byte of it is read.
    pub max_filesize: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            mode: Mode::Concurrent,
            jobs: 64,
            per_host: 16,
            split: true,
            fail_fast: false,
            max_time: None,
            max_filesize: None,
        }
    }
}

/// How the downloads of a run follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Threads share the list.
    #[default]
    Concurrent,
    /// A plain loop in the caller's thread.
    Sequential,
}

impl Mode {
    /// The word for it in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Concurrent => "concurrent",
            Self::Sequential => "sequential",
        }
    }
}

/// Where files go, and what happens to those already there.
#[derive(Debug, Clone)]
pub struct Output {
    /// The directory for every file; made if missing.
    pub directory: PathBuf,
    /// What to do where a target exists.
    pub if_exists: IfExists,
    /// A file counts as fetched only when it and its name are on the disk, even if the power fails then.
    pub fsync: bool,
}

impl Default for Output {
    fn default() -> Self {
        Self { directory: PathBuf::from("."), if_exists: IfExists::Skip, fsync: false }
    }
}

/// What to do where a target exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfExists {
    /// Leave it alone, unchecked, and ask for nothing.
    #[default]
    Skip,
    /// Replace it once the new file is whole.
    Overwrite,
    /// Keep it, and give the new file the next free name.
    Rename,
    /// Ask whether it has changed since its own time, which is that of the server's; replace it only then.
    Update,
    /// Count the download as failed.
    Fail,
}

/// A request header that the user gave: a token and a value without line breaks (RFC 9110, section 5).
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    name: String,
    value: String,
}

impl Header {
    /// Reads `Name: value`.
    ///
    /// # Errors
    ///
    /// [`HeaderError`], also for headers that tdl sets itself, since a download is checked against what they ask.
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
        const OWN: [&str; 8] =
            ["accept-encoding", "connection", "content-length", "host", "if-range", "range", "te", "transfer-encoding"];
        if OWN.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(HeaderError::Own(name.to_owned()));
        }
        if name.eq_ignore_ascii_case("proxy-authorization") {
            return Err(HeaderError::ForProxy);
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }

    /// The name as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value, without the white space around it.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether the header is for one server's eyes: Authorization or Cookie.
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

/// Why a line is no header that the user may set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// There is no colon in it.
    #[error("a header reads 'Name: value'")]
    NoColon,
    /// The name is empty or has a character that no token has.
    #[error("a header's name is one word of letters, digits and hyphens")]
    Name,
    /// The value has a control character in it.
    #[error("the value of {0} has a control character in it")]
    Value(String),
    /// tdl sets this one, and checks the answer against it.
    #[error("{0} is set by tdl itself")]
    Own(String),
    /// A proxy's password would go to every server.
    #[error(
        "it would go to the servers; give the proxy's URL the user info, as in http_proxy=http://USER:PASSWORD@HOST:PORT"
    )]
    ForProxy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_token_and_a_line() {
        let header = Header::parse("X-Api-Key:  a b ").unwrap();
        assert_eq!((header.name(), header.value()), ("X-Api-Key", "a b"));
        assert!(!format!("{header:?}").contains("a b"));
        for (line, error) in [
            ("no colon", HeaderError::NoColon),
            (": value", HeaderError::Name),
            ("two words: x", HeaderError::Name),
            ("X: a\r\nY: b", HeaderError::Value("X".to_owned())),
            ("rAnge: bytes=0-", HeaderError::Own("rAnge".to_owned())),
            ("Host: elsewhere", HeaderError::Own("Host".to_owned())),
            ("proxy-authorization: Basic x", HeaderError::ForProxy),
        ] {
            assert_eq!(Header::parse(line), Err(error), "{line}");
        }
    }

    #[test]
    fn a_proxy_is_a_url_that_can_be_spoken_to() {
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
            ("not a url", ProxyUrlError::NoUrl),
            ("", ProxyUrlError::NoUrl),
            ("http://", ProxyUrlError::NoUrl),
            ("socks5://", ProxyUrlError::NoUrl),
            ("socks5://:1080", ProxyUrlError::NoUrl),
            ("socks5://pro%20xy", ProxyUrlError::NoUrl),
            ("proxy:port", ProxyUrlError::NoUrl),
            ("proxy:65536", ProxyUrlError::NoUrl),
            ("http:///proxy name", ProxyUrlError::NoUrl),
        ] {
            assert_eq!(ProxyUrl::parse(text), Err(error), "{text}");
        }
        let shown = format!("{:?}", ProxyUrl::parse("user:pass@proxy:3128").unwrap());
        assert_eq!(shown, "ProxyUrl(http://proxy:3128)");
    }

    #[test]
    fn credentials_are_known_whatever_their_case() {
        assert!(Header::parse("COOKIE: a=b").unwrap().is_credential());
        assert!(!Header::parse("Accept: */*").unwrap().is_credential());
    }
}
