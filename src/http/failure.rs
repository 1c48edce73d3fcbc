//! What the HTTP library's errors mean, by the types in their chain of causes and never by their words.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;

use super::exchange::ExchangeError;
use super::resolver::Unresolved;
use crate::error::{self, Cause, Error};
use crate::options::Network;

/// How the library says that a proxy made no connection; it has no other name that could be written here.
type TunnelError = <Tunnel<HttpConnector> as tower_service::Service<hyper::Uri>>::Error;

/// The failure of an exchange that brought no response.
pub fn of_exchange(failed: ExchangeError, network: &Network) -> Error {
    match failed {
        ExchangeError::Library(error) => of_request(error, network),
        ExchangeError::Ended => Error::Broken { received: 0, cause: ENDED.into() },
    }
}

/// The failure of asking: no answer came, or none that can be read.
pub fn of_request(error: reqwest::Error, network: &Network) -> Error {
    // The library prints URLs whole; ours are printed redacted, by whoever names the download.
    let error = error.without_url();
    if error.is_dns() {
        let unresolved = causes(&error).find_map(|cause| cause.downcast_ref::<Unresolved>());
        let is_temporary = unresolved.is_none_or(Unresolved::is_temporary);
        return Error::Dns { is_temporary, cause: root(&error) };
    }
    if let Some(tunnel) = causes(&error).find_map(|cause| cause.downcast_ref::<TunnelError>()) {
        match tunnel {
            TunnelError::ProxyAuthRequired => return Error::Proxy { code: Some(407) },
            // Every other status, and what is no HTTP.
            TunnelError::TunnelUnsuccessful => return Error::Proxy { code: None },
            _ => {}
        }
    }
    if let Some(source) = out_of_files(&error) {
        return Error::Exhausted { action: "connect", source };
    }
    if error.is_connect() {
        return match io_kind(&error) {
            Some(io::ErrorKind::InvalidData) => Error::Tls(root(&error)),
            _ if error.is_timeout() => Error::ConnectTimeout(network.connect_timeout),
            _ => Error::Connect(root(&error)),
        };
    }
    if error.is_builder() {
        return Error::Request(root(&error));
    }
    once_connected(&error, 0, network.stall_timeout)
}

/// The failure of setting a client up: for want of certificates, or for now of threads, files or memory.
pub fn of_setup(error: reqwest::Error) -> Error {
    let error = error.without_url();
    let exhausted = [io::ErrorKind::WouldBlock, io::ErrorKind::OutOfMemory];
    let is_exhausted = |cause: &io::Error| exhausted.contains(&cause.kind());
    let is_temporary = out_of_files(&error).is_some() || caused_by::<io::Error>(&error, is_exhausted);
    Error::Client { is_temporary, cause: root(&error) }
}

/// What ends a request whose runtime has ended.
const ENDED: &str = "the client has ended";

/// The failure of reading a body of which `received` of `expected` bytes had come.
pub fn of_body(failed: ExchangeError, received: u64, expected: Option<u64>, stall_timeout: Duration) -> Error {
    match failed {
        ExchangeError::Library(error) => while_reading(&error.without_url(), received, expected, stall_timeout),
        ExchangeError::Ended => Error::Broken { received, cause: ENDED.into() },
    }
}

fn while_reading(
    error: &(dyn StdError + 'static),
    received: u64,
    expected: Option<u64>,
    stall_timeout: Duration,
) -> Error {
    let failure = match once_connected(error, received, stall_timeout) {
        // A chunk that is none: what has come until then is as good as before a broken connection.
        Error::Protocol(cause) => return Error::Broken { received, cause },
        failure => failure,
    };
    // A connection that was closed in good order, only too early; one that was reset says so.
    let is_end = matches!(io_kind(error), None | Some(io::ErrorKind::UnexpectedEof));
    match (failure, expected) {
        (Error::Broken { received, .. }, Some(expected)) if is_end => Error::Truncated { received, expected },
        (failure, _) => failure,
    }
}

/// Once a connection stands: it stalled, it broke, or what came over it is no HTTP.
fn once_connected(error: &(dyn StdError + 'static), received: u64, stall_timeout: Duration) -> Error {
    if caused_by::<reqwest::Error>(error, reqwest::Error::is_timeout) {
        return Error::Stalled(stall_timeout);
    }
    let malformed = caused_by::<hyper::Error>(error, hyper::Error::is_parse)
        // A chunk with a size that is no number, say.
        || matches!(io_kind(error), Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput));
    if malformed {
        return Error::Protocol(root(error));
    }
    Error::Broken { received, cause: root(error) }
}

/// The system's error, where too many files are open.
fn out_of_files(error: &(dyn StdError + 'static)) -> Option<io::Error> {
    let mut errors = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
    let code = errors.find(|error| error::is_out_of_files(error))?.raw_os_error()?;
    Some(io::Error::from_raw_os_error(code))
}

/// Whether an error of type `E` for which `holds` is among the causes.
fn caused_by<E: StdError + 'static>(error: &(dyn StdError + 'static), holds: impl Fn(&E) -> bool) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<E>()).any(holds)
}

/// The kind of the innermost I/O error that says more than `Other`.
fn io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let kinds = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kinds.filter(|kind| *kind != io::ErrorKind::Other).last()
}

/// The innermost cause, which is the one that says what happened.
fn root(error: &(dyn StdError + 'static)) -> Cause {
    causes(error).last().map_or_else(String::new, ToString::to_string).into()
}

/// An error and all that caused it. An `io::Error` hides what it wraps from `source`, so it is looked into.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner as &(dyn StdError + 'static)),
        None => error.source(),
    })
}

#[cfg(test)]
mod tests {
    use io::ErrorKind::*;

    use super::*;

    #[test]
    fn every_kind_of_io_error_while_a_body_is_read_has_its_meaning() {
        let meaning = |kind: io::ErrorKind, expected| {
            let failure = while_reading(&io::Error::new(kind, "x"), 3, expected, Duration::from_secs(1));
            (failure.kind(), failure.is_temporary())
        };
        for kind in [UnexpectedEof, Other] {
            assert_eq!(meaning(kind, Some(5)), ("truncated", true), "{kind:?}");
            assert_eq!(meaning(kind, None), ("broken", true), "{kind:?}");
        }
        for kind in [
            NotFound,
            PermissionDenied,
            ConnectionRefused,
            ConnectionReset,
            HostUnreachable,
            NetworkUnreachable,
            ConnectionAborted,
            NotConnected,
            AddrInUse,
            AddrNotAvailable,
            NetworkDown,
            BrokenPipe,
            AlreadyExists,
            WouldBlock,
            TimedOut,
            WriteZero,
            Interrupted,
            Unsupported,
            OutOfMemory,
            InvalidData,
            InvalidInput,
        ] {
            assert_eq!(meaning(kind, Some(5)), ("broken", true), "{kind:?}");
        }
    }

    #[test]
    fn causes_are_found_however_deep_they_are_wrapped() {
        let inner = io::Error::new(ConnectionReset, "reset");
        let outer = io::Error::other(io::Error::other(inner));
        assert_eq!(io_kind(&outer), Some(ConnectionReset));
        assert_eq!(root(&outer).to_string(), "reset");
    }
}
