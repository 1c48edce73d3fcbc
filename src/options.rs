//! What a run was asked to do, resolved once and never changed. Each group goes to the modules that
//! need it; no module is handed all of them without a reason.

use std::path::PathBuf;
use std::time::Duration;

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
}

impl Default for Network {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            headers: Vec::new(),
            insecure: false,
        }
    }
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

    /// Whether the header is for one server's eyes: Authorization, Proxy-Authorization or Cookie.
    #[must_use]
    pub fn is_credential(&self) -> bool {
        ["authorization", "proxy-authorization", "cookie"].iter().any(|name| self.name.eq_ignore_ascii_case(name))
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
        ] {
            assert_eq!(Header::parse(line), Err(error), "{line}");
        }
    }

    #[test]
    fn credentials_are_known_whatever_their_case() {
        assert!(Header::parse("COOKIE: a=b").unwrap().is_credential());
        assert!(!Header::parse("Accept: */*").unwrap().is_credential());
    }
}
