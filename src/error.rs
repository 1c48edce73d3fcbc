//! The ways a download can fail, and their messages. `classify` says how each is handled.

mod classify;

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::text::{safe, safe_path};
use crate::url::{UrlError, WebUrl, redacted};

/// The cause of a failure, as another library reports it.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Why a download failed, or a run could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not a URL that tdl can request; nothing was requested.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The status is not 200, nor a 206 where a range was requested.
    #[error("the server responded with {code}{}", prefixed(reason))]
    Status {
        /// The status code.
        code: u16,
        /// Its reason phrase.
        reason: &'static str,
        /// When the server asks for the request to be retried (`Retry-After`).
        retry_after: Option<Box<RetryAfter>>,
    },
    /// The response is not the requested range, or its headers contradict each other. The text says why.
    #[error("the response cannot be used: {0}")]
    Range(&'static str),
    /// A segment of the file could not be fetched; the rest is not affected.
    #[error("a segment of the file could not be fetched")]
    Segment(#[source] Box<Self>),
    /// The host has no address, or no name server responds.
    #[error("the host name {}", if *is_temporary { "could not be resolved" } else { "does not exist" })]
    Dns {
        /// Whether the name may resolve later. `false` where a name server says that it does not exist.
        is_temporary: bool,
        /// The resolver's reason.
        #[source]
        cause: Cause,
    },
    /// No connection to the host.
    #[error("could not connect")]
    Connect(#[source] Cause),
    /// No connection within the connect timeout, which is given.
    #[error("could not connect within {0:?}")]
    ConnectTimeout(Duration),
    /// The proxy made no connection to the host.
    #[error("the proxy refused{}", proxy_status(*code))]
    Proxy {
        /// The status of its response, where that is known.
        code: Option<u16>,
    },
    /// The TLS handshake failed, or the certificate is not trusted.
    #[error("could not establish a secure connection")]
    Tls(#[source] Cause),
    /// The client could not be set up: there is no certificate store, for example.
    #[error("the HTTP client could not be set up")]
    Client {
        /// Whether the system ran out of threads, open files or memory.
        is_temporary: bool,
        /// The cause.
        #[source]
        cause: Cause,
    },
    /// The system has no more threads or open files for this process.
    #[error("cannot {action}")]
    Exhausted {
        /// What failed, as a verb phrase.
        action: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The URL or a header does not form a valid request.
    #[error("the URL or a header does not form a valid request")]
    Request(#[source] Cause),
    /// No response arrived within the stall timeout, which is given; or only a part of its headers.
    #[error("the server did not respond within {0:?}")]
    NoResponse(Duration),
    /// No byte of a body arrived within the stall timeout, which is given.
    #[error("no data received for {0:?}")]
    Stalled(Duration),
    /// The connection broke before the response was complete.
    #[error("the connection broke after {received} bytes")]
    Broken {
        /// Bytes of the file that had arrived.
        received: u64,
        /// What broke it.
        #[source]
        cause: Cause,
    },
    /// The body is shorter than announced.
    #[error("the body ended after {received} of {expected} bytes")]
    Truncated {
        /// Bytes of the file that had arrived.
        received: u64,
        /// Bytes that were announced.
        expected: u64,
    },
    /// The response is not valid HTTP.
    #[error("the response is not valid HTTP")]
    Protocol(#[source] Cause),
    /// A redirect that must not be followed.
    #[error(transparent)]
    Redirect(#[from] Box<Redirect>),
    /// The target exists and must not be replaced.
    #[error("{} already exists", safe_path(.0))]
    Exists(PathBuf),
    /// The target exists, and tdl fetched it from a URL that is not a source of this download.
    #[error("{} is there, but from another URL", safe_path(.0))]
    FromAnotherUrl(PathBuf),
    /// The path exists and is not a regular file.
    #[error("{} is not a regular file", safe_path(.0))]
    NotAFile(PathBuf),
    /// Another process is downloading to the same target.
    #[error("{} is being written by another process", safe_path(path))]
    Locked {
        /// The part file.
        path: PathBuf,
        /// How long until the other process is presumed dead, unless it makes a checkpoint first. `None` if it is
        /// alive, or if that cannot be determined.
        free_in: Option<Duration>,
    },
    /// The file is longer than the limit, which is given in bytes.
    #[error("the file is longer than the limit of {0} bytes")]
    TooLarge(u64),
    /// The file's length is not the one in its list entry.
    #[error("the file has {length} bytes, but {expected} were expected")]
    UnexpectedLength {
        /// Its length.
        length: u64,
        /// The length in the list.
        expected: u64,
    },
    /// The file does not have the digest of its list entry.
    #[error("the file has the {algorithm} {found}, but {expected} was expected")]
    WrongDigest {
        /// The algorithm.
        algorithm: &'static str,
        /// The digest of what arrived, in hexadecimal digits.
        found: String,
        /// The digest in the list.
        expected: String,
    },
    /// The disk has no room for the rest of the file.
    #[error("not enough disk space for {}: {needed} bytes are needed, {}", safe_path(path), free_space(*free))]
    NoRoom {
        /// The part file.
        path: PathBuf,
        /// Bytes that are still missing.
        needed: u64,
        /// Bytes that are free; `None` if that would be enough, and the user may not use them.
        free: Option<u64>,
    },
    /// The time limit for the run has expired.
    #[error("the time limit for the run has expired")]
    OutOfTime,
    /// The part file, whose path is given, was removed or replaced.
    #[error("{} was removed or replaced by another process", safe_path(.0))]
    PartGone(PathBuf),
    /// Another process truncated or extended the part file, whose path is given.
    #[error("{} was changed by another process", safe_path(.0))]
    PartChanged(PathBuf),
    /// A file that tdl did not make has a name that tdl needs, and could not be moved aside.
    #[error("cannot use {}: {reason}", safe_path(path))]
    InTheWay {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, why it was not moved, and what helps.
        reason: String,
    },
    /// The file system refused an operation.
    #[error("cannot {action} {}", safe_path(path))]
    Disk {
        /// What failed, as a verb phrase.
        action: &'static str,
        /// The path that it failed for.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A bug in tdl: the message of a panic.
    #[error("internal error: {0}")]
    Panicked(String),
    /// The run was cancelled before the download finished.
    #[error("cancelled")]
    Cancelled,
}

/// When a server asks for a request to be retried (RFC 9110, section 10.2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryAfter {
    /// The host and port that sent it.
    pub host: String,
    /// The time to wait.
    pub wait: Duration,
}

/// Why a redirect is not followed.
#[derive(Debug, thiserror::Error)]
pub enum Redirect {
    /// There were more than [`MAX_REDIRECTS`].
    #[error("more than {MAX_REDIRECTS} redirects, the last to {0}")]
    TooMany(WebUrl),
    /// The location is not an http or https URL.
    #[error("{from} redirects to '{}', which is not an http or https URL", safe(&redacted(.location)))]
    NotWeb {
        /// The URL that redirects.
        from: WebUrl,
        /// The location, as sent.
        location: String,
    },
    /// It leads from https to http.
    #[error("{from} redirects from https to {to}")]
    Downgrade {
        /// The URL that redirects.
        from: WebUrl,
        /// The location.
        to: WebUrl,
    },
}

/// The maximum number of redirects followed for one request.
pub const MAX_REDIRECTS: usize = 10;

/// A reason phrase after its status code; many codes have none.
fn prefixed(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" {reason}") }
}

fn free_space(free: Option<u64>) -> String {
    free.map_or_else(|| "more than this user may use".to_owned(), |free| format!("{free} are free"))
}

fn proxy_status(code: Option<u16>) -> String {
    code.map_or_else(|| " the connection".to_owned(), |code| format!(" the connection with status {code}"))
}

/// Whether a system call failed because this process, or the system, has too many files open.
#[must_use]
pub fn has_too_many_open_files(error: &io::Error) -> bool {
    /// `ENFILE` and `EMFILE`, on every Unix.
    const OPEN_FILES: [i32; 2] = [23, 24];
    /// `ERROR_TOO_MANY_OPEN_FILES`, and `WSAEMFILE` of a socket.
    const OPEN_FILES_ON_WINDOWS: [i32; 2] = [4, 10024];
    let codes = if cfg!(windows) { OPEN_FILES_ON_WINDOWS } else { OPEN_FILES };
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}
