//! Why a download failed, as types that the retry policy and the exit code decide by.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::text::{safe, safe_path};
use crate::url::{UrlError, WebUrl, redacted};

/// The cause beneath a failure, in another library's words.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not a URL that tdl can request; nothing was requested.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Any status but 200.
    #[error("the server answered {code} {reason}")]
    Status {
        /// The status code.
        code: u16,
        /// What the code is called.
        reason: &'static str,
        /// What the server says of when to come again.
        retry_after: Option<Box<RetryAfter>>,
    },
    /// The rest of a file was asked for, and what came is not that.
    #[error("the partial answer cannot be used: {0}")]
    Range(&'static str),
    /// One more part of a file was asked for while others were there or on their way, and did not come as it should.
    #[error("a part of the file could not be got")]
    Part(#[source] Box<Self>),
    /// The host has no address, or no name server answers.
    #[error("the host name {}", if *is_temporary { "could not be resolved" } else { "does not exist" })]
    Dns {
        /// Whether a name server may know it later; not where one says that there is no such name.
        is_temporary: bool,
        /// The resolver's reason.
        #[source]
        cause: Cause,
    },
    /// No connection to the host.
    #[error("could not connect")]
    Connect(#[source] Cause),
    /// No connection within the time for it.
    #[error("could not connect within {0:?}")]
    ConnectTimeout(Duration),
    /// A proxy was asked for a connection to the host, and made none.
    #[error("the proxy refused{}", proxy_status(*code))]
    Proxy {
        /// The status that it answered, where that is known.
        code: Option<u16>,
    },
    /// The certificate or the handshake is not to be trusted.
    #[error("no secure connection")]
    Tls(#[source] Cause),
    /// The client could not be set up, for want of a certificate store, say.
    #[error("the HTTP client could not be set up")]
    Client {
        /// Whether it was for want of threads, open files or memory.
        is_temporary: bool,
        /// What was wanting.
        #[source]
        cause: Cause,
    },
    /// The system has no more threads or open files for this process.
    #[error("cannot {action}")]
    Exhausted {
        /// What was to be done, as a verb.
        action: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The URL or a header is such that no request can be made of it.
    #[error("no request can be made of it")]
    Request(#[source] Cause),
    /// No byte came for the stall time-out.
    #[error("no byte came for {0:?}")]
    Stalled(Duration),
    /// The connection broke before the answer was whole.
    #[error("the connection broke after {received} bytes")]
    Broken {
        /// Bytes of the body that had arrived.
        received: u64,
        /// What broke it.
        #[source]
        cause: Cause,
    },
    /// The body ended short of the announced length.
    #[error("the body ended after {received} of {expected} bytes")]
    Truncated {
        /// Bytes of the body that had arrived.
        received: u64,
        /// Bytes that were announced.
        expected: u64,
    },
    /// What came is no HTTP.
    #[error("the answer is not valid HTTP")]
    Protocol(#[source] Cause),
    /// A redirect that is not to be followed.
    #[error(transparent)]
    Redirect(#[from] Box<Redirect>),
    /// The target exists, and is not to be replaced.
    #[error("{} exists already", safe_path(.0))]
    Exists(PathBuf),
    /// The target's place is taken by something that is no file.
    #[error("{} is not a regular file", safe_path(.0))]
    NotAFile(PathBuf),
    /// Another process is downloading to the same target.
    #[error("{} is being written by another process", safe_path(path))]
    Locked {
        /// The part file.
        path: PathBuf,
        /// The time after which the other process counts as dead, unless it shows that it is not; `None` where it is
        /// known to live.
        free_in: Option<Duration>,
    },
    /// The file is longer than it may be.
    #[error("the file is longer than the {0} bytes that are allowed")]
    TooLarge(u64),
    /// The disk has no room for the rest of the file.
    #[error("{} has no room for it: {needed} bytes are needed, {free} are free", safe_path(path))]
    NoRoom {
        /// The part file.
        path: PathBuf,
        /// Bytes that are still to come.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The time for the whole run is over.
    #[error("the time for the run was over")]
    OutOfTime,
    /// The part file is not where it was.
    #[error("{} was taken away or replaced meanwhile", safe_path(.0))]
    PartGone(PathBuf),
    /// Another process cut or extended the part file.
    #[error("{} was changed by another process", safe_path(.0))]
    PartChanged(PathBuf),
    /// A file that is not tdl's has a name that tdl needs, and could not be moved aside.
    #[error("{} is in the way: {reason}", safe_path(path))]
    InTheWay {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, why it was not moved, and what helps.
        reason: String,
    },
    /// The file system refused.
    #[error("cannot {action} {}", safe_path(path))]
    Disk {
        /// What was to be done, as a verb.
        action: &'static str,
        /// The path it was to be done to.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A defect in tdl.
    #[error("internal error: {0}")]
    Panicked(String),
    /// The run ended before the download was done.
    #[error("not finished")]
    Cancelled,
}

/// A server's wish that nothing be asked of it for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryAfter {
    /// The host and port that said so.
    pub host: String,
    /// For how long.
    pub wait: Duration,
}

/// A redirect that is not followed.
#[derive(Debug, thiserror::Error)]
pub enum Redirect {
    /// More hops than [`MAX_REDIRECTS`].
    #[error("more than {MAX_REDIRECTS} redirects, the last to {0}")]
    TooMany(WebUrl),
    /// The target is no http or https URL.
    #[error("{from} redirects to '{}', which is no http or https URL", safe(&redacted(.location)))]
    NotWeb {
        /// The hop that answered.
        from: WebUrl,
        /// What it said.
        location: String,
    },
    /// The hop would leave the encrypted connection.
    #[error("{from} redirects from https to {to}")]
    Downgrade {
        /// The hop that answered.
        from: WebUrl,
        /// The http URL that it named.
        to: WebUrl,
    },
}

/// Redirects followed for one request.
pub const MAX_REDIRECTS: usize = 10;

impl Error {
    /// A stable word for machine-readable reports.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Url(_) => "url",
            Self::Status { .. } => "status",
            Self::Range(_) => "range",
            Self::Part(_) => "part",
            Self::Dns { .. } => "dns",
            Self::Connect(_) => "connect",
            Self::ConnectTimeout(_) | Self::Stalled(_) => "timeout",
            Self::Proxy { .. } => "proxy",
            Self::Tls(_) => "tls",
            Self::Client { .. } => "client",
            Self::Exhausted { .. } => "exhausted",
            Self::Request(_) => "request",
            Self::Broken { .. } => "broken",
            Self::Truncated { .. } => "truncated",
            Self::Protocol(_) => "protocol",
            Self::Redirect(_) => "redirect",
            Self::Exists(_) => "exists",
            Self::Locked { .. } => "locked",
            Self::TooLarge(_) => "too-large",
            Self::OutOfTime => "out-of-time",
            Self::NoRoom { .. } => "no-room",
            Self::NotAFile(_)
            | Self::PartGone(_)
            | Self::PartChanged(_)
            | Self::InTheWay { .. }
            | Self::Disk { .. } => "disk",
            Self::Panicked(_) => "internal",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the same request may succeed later.
    ///
    /// Connections that fail or break, time-outs, truncation, and the statuses by which a server says so
    /// (RFC 9110 and, for 520 to 524, a common gateway's own); nothing else. A proxy that is asked for a connection
    /// answers for others as well: only a 3xx or 4xx of its own is permanent.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Status { code, .. } => {
                matches!(code, 408 | 425 | 429 | 500 | 502 | 503 | 504 | 520..=524)
            }
            Self::Proxy { code } => !matches!(code, Some(300..=407 | 409..=428 | 430..=499)),
            Self::Client { is_temporary, .. } | Self::Dns { is_temporary, .. } => *is_temporary,
            Self::Disk { source, .. } => is_out_of_files(source),
            Self::Range(_)
            | Self::Part(_)
            | Self::Exhausted { .. }
            | Self::Connect(_)
            | Self::ConnectTimeout(_)
            | Self::Stalled(_)
            | Self::Broken { .. }
            | Self::Truncated { .. }
            | Self::Locked { .. }
            | Self::PartGone(_)
            | Self::PartChanged(_)
            | Self::OutOfTime
            | Self::Cancelled => true,
            Self::Url(_)
            | Self::Tls(_)
            | Self::Request(_)
            | Self::Protocol(_)
            | Self::Redirect(_)
            | Self::Exists(_)
            | Self::NotAFile(_)
            | Self::InTheWay { .. }
            | Self::TooLarge(_)
            | Self::NoRoom { .. }
            | Self::Panicked(_) => false,
        }
    }

    /// The status that the server answered, if that is what failed.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// What the server said of when to come again.
    #[must_use]
    pub fn retry_after(&self) -> Option<&RetryAfter> {
        match self {
            Self::Status { retry_after, .. } => retry_after.as_deref(),
            _ => None,
        }
    }

    /// The time after which another process that has the part file may count as dead.
    #[must_use]
    pub const fn free_in(&self) -> Option<Duration> {
        match self {
            Self::Locked { free_in, .. } => *free_in,
            _ => None,
        }
    }

    /// Whether the disk is full, so that other downloads would fail as well.
    #[must_use]
    pub fn is_full_disk(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Disk { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }

    /// Whether too many files are open, so that fewer should be.
    #[must_use]
    pub fn is_out_of_files(&self) -> bool {
        match self {
            Self::Exhausted { source, .. } | Self::Disk { source, .. } => is_out_of_files(source),
            _ => false,
        }
    }

    /// Whether the server refused for want of strength, so that less should be asked of it at once.
    #[must_use]
    pub const fn is_throttled(&self) -> bool {
        matches!(self, Self::Status { code: 429 | 503, .. })
    }

    /// The failure and what caused it, outermost first, joined by colons; safe to print.
    #[must_use]
    pub fn chain(&self) -> String {
        let causes = std::iter::successors(Some(self as &dyn StdError), |&error| error.source());
        safe(&causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")).to_string()
    }
}

/// Whether a call failed because this process, or the system, has as many files open as it may.
#[must_use]
pub fn is_out_of_files(error: &io::Error) -> bool {
    /// `ENFILE` and `EMFILE`, on every Unix.
    const OPEN_FILES: [i32; 2] = [23, 24];
    /// `ERROR_TOO_MANY_OPEN_FILES`, and `WSAEMFILE` of a socket.
    const OPEN_FILES_ON_WINDOWS: [i32; 2] = [4, 10024];
    let codes = if cfg!(windows) { OPEN_FILES_ON_WINDOWS } else { OPEN_FILES };
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

fn proxy_status(code: Option<u16>) -> String {
    code.map_or_else(|| " the connection".to_owned(), |code| format!(" the connection: it answered {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_temporary_or_permanent() {
        let temporary = [408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524];
        for status in 100..=599 {
            let failure = Error::Status { code: status, reason: "", retry_after: None };
            assert_eq!(failure.is_temporary(), temporary.contains(&status), "{status}");
        }
    }

    #[test]
    fn a_refusal_of_a_proxy_is_permanent_unless_it_says_otherwise() {
        for (code, temporary) in
            [(400, false), (403, false), (407, false), (408, true), (429, true), (451, false), (500, true), (503, true)]
        {
            assert_eq!(Error::Proxy { code: Some(code) }.is_temporary(), temporary, "{code}");
        }
        assert!(Error::Proxy { code: None }.is_temporary());
        assert_eq!(Error::Proxy { code: Some(403) }.chain(), "the proxy refused the connection: it answered 403");
    }

    #[test]
    fn a_chain_names_every_cause_and_hides_nothing() {
        let source = io::Error::other("\x1b[31mno");
        let failure = Error::Disk { action: "write", path: "out/a\n".into(), source };
        assert_eq!(failure.chain(), "cannot write out/a\\u{a}: \\u{1b}[31mno");
    }
}
