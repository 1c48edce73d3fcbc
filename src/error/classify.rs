//! How each failure is handled by the retry policy, the pool, reports and exit codes.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use super::{Error, RetryAfter, has_too_many_open_files};
use crate::text::safe;

impl Error {
    /// A stable identifier for the kind of failure, as in the JSON Lines output.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Url(_) => "url",
            Self::Status { .. } => "status",
            Self::Range(_) => "range",
            Self::Segment(_) => "part",
            Self::Dns { .. } => "dns",
            Self::Connect(_) => "connect",
            Self::ConnectTimeout(_) | Self::NoResponse(_) | Self::Stalled(_) => "timeout",
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
            Self::FromAnotherUrl(_) => "another-url",
            Self::Locked { .. } => "locked",
            Self::TooLarge(_) => "too-large",
            Self::UnexpectedLength { .. } => "length",
            Self::WrongDigest { .. } => "digest",
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

    /// Whether the same request may succeed later: connections that fail or break, time-outs, truncation, and the
    /// statuses that say so (those of RFC 9110, and Cloudflare's 520 to 524).
    ///
    /// The status of a proxy may be that of a server behind it. Of these only 3xx and 4xx are permanent, except 408 and
    /// 429.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Status { code, .. } => {
                matches!(code, 408 | 425 | 429 | 500 | 502 | 503 | 504 | 520..=524)
            }
            Self::Proxy { code } => !matches!(code, Some(300..=407 | 409..=428 | 430..=499)),
            Self::Client { is_temporary, .. } | Self::Dns { is_temporary, .. } => *is_temporary,
            Self::Disk { source, .. } => has_too_many_open_files(source),
            Self::Range(_)
            | Self::Segment(_)
            | Self::Exhausted { .. }
            | Self::Connect(_)
            | Self::ConnectTimeout(_)
            | Self::NoResponse(_)
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
            | Self::FromAnotherUrl(_)
            | Self::NotAFile(_)
            | Self::InTheWay { .. }
            | Self::TooLarge(_)
            | Self::UnexpectedLength { .. }
            | Self::WrongDigest { .. }
            | Self::NoRoom { .. }
            | Self::Panicked(_) => false,
        }
    }

    /// Whether another source of the same file may succeed. It cannot if the cause is local.
    #[must_use]
    pub const fn is_source_specific(&self) -> bool {
        match self {
            Self::Client { .. }
            | Self::Exhausted { .. }
            | Self::Exists(_)
            | Self::FromAnotherUrl(_)
            | Self::NotAFile(_)
            | Self::Locked { .. }
            | Self::TooLarge(_)
            | Self::NoRoom { .. }
            | Self::OutOfTime
            | Self::PartGone(_)
            | Self::PartChanged(_)
            | Self::InTheWay { .. }
            | Self::Disk { .. }
            | Self::Panicked(_)
            | Self::Cancelled => false,
            Self::Url(_)
            | Self::Status { .. }
            | Self::Range(_)
            | Self::Segment(_)
            | Self::Dns { .. }
            | Self::Connect(_)
            | Self::ConnectTimeout(_)
            | Self::Proxy { .. }
            | Self::Tls(_)
            | Self::Request(_)
            | Self::NoResponse(_)
            | Self::Stalled(_)
            | Self::Broken { .. }
            | Self::Truncated { .. }
            | Self::Protocol(_)
            | Self::Redirect(_)
            | Self::UnexpectedLength { .. }
            | Self::WrongDigest { .. } => true,
        }
    }

    /// The response's status, if that is the failure.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// When the server asks to be retried.
    #[must_use]
    pub fn retry_after(&self) -> Option<&RetryAfter> {
        match self {
            Self::Status { retry_after, .. } => retry_after.as_deref(),
            _ => None,
        }
    }

    /// How long until the process that holds the part file is presumed dead.
    #[must_use]
    pub const fn free_in(&self) -> Option<Duration> {
        match self {
            Self::Locked { free_in, .. } => *free_in,
            _ => None,
        }
    }

    /// Whether the disk is full: other downloads would fail as well.
    #[must_use]
    pub fn is_full_disk(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Disk { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }

    /// Whether too many files are open: fewer downloads should run.
    #[must_use]
    pub fn has_too_many_open_files(&self) -> bool {
        match self {
            Self::Exhausted { source, .. } | Self::Disk { source, .. } => has_too_many_open_files(source),
            _ => false,
        }
    }

    /// Whether what was received is of no use to a later attempt.
    pub(crate) const fn makes_part_useless(&self) -> bool {
        matches!(
            self,
            Self::Exists(_)
                | Self::FromAnotherUrl(_)
                | Self::PartGone(_)
                | Self::PartChanged(_)
                | Self::UnexpectedLength { .. }
                | Self::WrongDigest { .. }
        )
    }

    /// Whether the server asks for fewer requests (429, 503).
    #[must_use]
    pub const fn is_throttled(&self) -> bool {
        matches!(self, Self::Status { code: 429 | 503, .. })
    }

    /// Whether the host takes no more requests at the moment: it says so, or refuses or resets new connections.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        match self {
            Self::Connect(cause) => cause
                .downcast_ref::<io::Error>()
                .is_some_and(|error| matches!(error.kind(), ConnectionRefused | ConnectionReset | ConnectionAborted)),
            _ => self.is_throttled(),
        }
    }

    /// The failure and its causes, outermost first, joined by colons; safe to print on a terminal.
    #[must_use]
    pub fn chain(&self) -> String {
        let causes = std::iter::successors(Some(self as &dyn StdError), |&error| error.source());
        safe(&causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")).to_string()
    }
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
    fn a_proxy_refusal_is_permanent_unless_its_status_is_temporary() {
        for (code, temporary) in
            [(400, false), (403, false), (407, false), (408, true), (429, true), (451, false), (500, true), (503, true)]
        {
            assert_eq!(Error::Proxy { code: Some(code) }.is_temporary(), temporary, "{code}");
        }
        assert!(Error::Proxy { code: None }.is_temporary());
        assert_eq!(Error::Proxy { code: Some(403) }.chain(), "the proxy refused the connection with status 403");
    }

    #[test]
    fn a_chain_names_every_cause_and_escapes_control_characters() {
        let source = io::Error::other("\x1b[31mno");
        let failure = Error::Disk { action: "write", path: "out/a\n".into(), source };
        assert_eq!(failure.chain(), "cannot write out/a\\u{a}: \\u{1b}[31mno");
    }
}
