//! Why a download failed, as types with messages. What they mean to those who decide by them is in `classify`.

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
    #[error("the server answered {code} {reason}")]
    Status {
        /// The status code.
        code: u16,
        /// Its reason phrase.
        reason: &'static str,
        /// When the server wants to be asked again.
        retry_after: Option<Box<RetryAfter>>,
    },
    /// The response is not the requested range.
    #[error("the partial response cannot be used: {0}")]
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
    /// No connection within the time-out.
    #[error("could not connect within {0:?}")]
    ConnectTimeout(Duration),
    /// The proxy made no connection to the host.
    #[error("the proxy refused{}", proxy_status(*code))]
    Proxy {
        /// The status of its response, where that is known.
        code: Option<u16>,
    },
    /// The TLS handshake failed, or the certificate is not trusted.
    #[error("no secure connection")]
    Tls(#[source] Cause),
    /// The client could not be set up: there is no certificate store, for example.
    #[error("the HTTP client could not be set up")]
    Client {
        /// Whether threads, open files or memory were missing.
        is_temporary: bool,
        /// What was missing.
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
    /// The URL or a header makes no valid request.
    #[error("the URL or a header makes no valid request")]
    Request(#[source] Cause),
    /// No byte arrived within the stall time-out.
    #[error("no byte arrived for {0:?}")]
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
    /// The body ended short of the announced length.
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
    #[error("{} exists already", safe_path(.0))]
    Exists(PathBuf),
    /// The target is a directory, a device or the like.
    #[error("{} is not a regular file", safe_path(.0))]
    NotAFile(PathBuf),
    /// Another process is downloading to the same target.
    #[error("{} is being written by another process", safe_path(path))]
    Locked {
        /// The part file.
        path: PathBuf,
        /// When the other process will count as dead, unless it makes a checkpoint before; `None` if it is known to be
        /// alive.
        free_in: Option<Duration>,
    },
    /// The file is longer than the limit.
    #[error("the file is longer than the limit of {0} bytes")]
    TooLarge(u64),
    /// The file has another length than its list entry says.
    #[error("the file has {length} bytes, but {expected} were expected")]
    UnexpectedLength {
        /// Its length.
        length: u64,
        /// The length in the list.
        expected: u64,
    },
    /// The disk has no room for the rest of the file.
    #[error("{} has no room for it: {needed} bytes are needed, {free} are free", safe_path(path))]
    NoRoom {
        /// The part file.
        path: PathBuf,
        /// Bytes that are still missing.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The run has used up its time.
    #[error("the time for the run is used up")]
    OutOfTime,
    /// The part file was removed or replaced.
    #[error("{} was removed or replaced by another process", safe_path(.0))]
    PartGone(PathBuf),
    /// Another process cut or extended the part file.
    #[error("{} was changed by another process", safe_path(.0))]
    PartChanged(PathBuf),
    /// A file that tdl did not make has a name that tdl needs, and could not be moved aside.
    #[error("{} is in the way: {reason}", safe_path(path))]
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
    /// A defect in tdl.
    #[error("internal error: {0}")]
    Panicked(String),
    /// The run was cancelled before the download finished.
    #[error("not finished")]
    Cancelled,
}

/// When a server wants to be asked again (RFC 9110, section 10.2.3).
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

/// Most redirects followed for one request.
pub const MAX_REDIRECTS: usize = 10;

fn proxy_status(code: Option<u16>) -> String {
    code.map_or_else(|| " the connection".to_owned(), |code| format!(" the connection: it answered {code}"))
}

/// Whether a system call failed because this process, or the system, has too many files open.
#[must_use]
pub fn is_out_of_files(error: &io::Error) -> bool {
    /// `ENFILE` and `EMFILE`, on every Unix.
    const OPEN_FILES: [i32; 2] = [23, 24];
    /// `ERROR_TOO_MANY_OPEN_FILES`, and `WSAEMFILE` of a socket.
    const OPEN_FILES_ON_WINDOWS: [i32; 2] = [4, 10024];
    let codes = if cfg!(windows) { OPEN_FILES_ON_WINDOWS } else { OPEN_FILES };
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}
