//! Classifies the HTTP library's errors by the types in their chain of causes, never by their text.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;

use super::resolver::ResolveError;
use super::response_buffer::ExchangeError;
use super::tls::explain_tls;
use crate::error::{self, Cause, Error};
use crate::options::Network;

/// hyper-util's error for a proxy that opened no tunnel. The type is not exported, so it is named through the trait.
type TunnelError = <Tunnel<HttpConnector> as tower_service::Service<hyper::Uri>>::Error;

/// The cause of a failure when the runtime has shut down.
const ENDED: &str = "the client has shut down";

/// The cause of a failure when a server hangs up where TLS should begin.
const CLOSED_IN_HANDSHAKE: &str = "the server closed the connection while TLS was being set up";

/// The failure of a request without a response.
pub fn classify_exchange(error: ExchangeError, network: &Network) -> Error {
    match error {
        ExchangeError::Library(error) => classify_request(error, network),
        ExchangeError::Cancelled => Error::Cancelled,
        ExchangeError::Ended => Error::Broken { received: 0, cause: ENDED.into() },
    }
}

/// The failure of a request that could not be built or sent, or that got no readable response.
pub fn classify_request(error: reqwest::Error, network: &Network) -> Error {
    // reqwest prints the whole URL. tdl prints a redacted one when it names the download.
    let error = error.without_url();
    if error.is_dns() {
        let resolve_error = causes(&error).find_map(|cause| cause.downcast_ref::<ResolveError>());
        let is_temporary = resolve_error.is_none_or(ResolveError::is_temporary);
        return Error::Dns { is_temporary, cause: root(&error) };
    }
    if let Some(tunnel) = causes(&error).find_map(|cause| cause.downcast_ref::<TunnelError>()) {
        match tunnel {
            TunnelError::ProxyAuthRequired => return Error::Proxy { code: Some(407) },
            // Any other status, or a response that is not HTTP.
            TunnelError::TunnelUnsuccessful => return Error::Proxy { code: None },
            _ => {}
        }
    }
    if let Some(source) = out_of_files(&error) {
        return Error::Exhausted { action: "connect", source };
    }
    if error.is_connect() {
        return match io_kind(&error) {
            Some(io::ErrorKind::InvalidData) => {
                Error::Tls(causes(&error).find_map(explain_tls).map_or_else(|| root(&error), Cause::from))
            }
            Some(io::ErrorKind::UnexpectedEof) => Error::Connect(CLOSED_IN_HANDSHAKE.into()),
            _ if error.is_timeout() => Error::ConnectTimeout(network.connect_timeout),
            _ => Error::Connect(system_error(&error).map_or_else(|| root(&error), Cause::from)),
        };
    }
    if error.is_builder() {
        return Error::Request(root(&error));
    }
    match classify_connected(&error, 0, network.stall_timeout) {
        Error::Stalled(timeout) => Error::NoResponse(timeout),
        failure => failure,
    }
}

/// The failure to set up a client: permanent if there are no certificates; temporary if the system ran out of threads,
/// file descriptors or memory.
pub fn classify_setup(error: reqwest::Error) -> Error {
    let error = error.without_url();
    let exhausted = [io::ErrorKind::WouldBlock, io::ErrorKind::OutOfMemory];
    let is_exhausted = |cause: &io::Error| exhausted.contains(&cause.kind());
    let is_temporary = out_of_files(&error).is_some() || is_caused_by::<io::Error>(&error, is_exhausted);
    Error::Client { is_temporary, cause: root(&error) }
}

/// The failure to read a body after `received` of `expected` bytes.
pub fn classify_body(error: ExchangeError, received: u64, expected: Option<u64>, stall_timeout: Duration) -> Error {
    match error {
        ExchangeError::Cancelled => Error::Cancelled,
        ExchangeError::Library(error) => classify_read(&error.without_url(), received, expected, stall_timeout),
        ExchangeError::Ended => Error::Broken { received, cause: ENDED.into() },
    }
}

fn classify_read(
    error: &(dyn StdError + 'static),
    received: u64,
    expected: Option<u64>,
    stall_timeout: Duration,
) -> Error {
    let failure = match classify_connected(error, received, stall_timeout) {
        // A malformed chunk. The bytes before it are as valid as those before a broken connection.
        Error::Protocol(cause) => return Error::Broken { received, cause },
        failure => failure,
    };
    // The connection was closed cleanly, but too early. A reset has an error kind.
    let is_closed = matches!(io_kind(error), None | Some(io::ErrorKind::UnexpectedEof));
    match (failure, expected) {
        (Error::Broken { received, .. }, Some(expected)) if is_closed => Error::Truncated { received, expected },
        (failure, _) => failure,
    }
}

/// The failure of an established connection: it stalled, it broke, or its bytes are not HTTP.
fn classify_connected(error: &(dyn StdError + 'static), received: u64, stall_timeout: Duration) -> Error {
    if is_caused_by::<reqwest::Error>(error, reqwest::Error::is_timeout) {
        return Error::Stalled(stall_timeout);
    }
    let is_malformed = is_caused_by::<hyper::Error>(error, hyper::Error::is_parse)
        // For example, a chunk whose size is not a number.
        || matches!(io_kind(error), Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput));
    if is_malformed {
        return Error::Protocol(root(error));
    }
    Error::Broken { received, cause: root(error) }
}

/// The system's error, if one is the cause.
fn system_error(error: &(dyn StdError + 'static)) -> Option<io::Error> {
    let errors = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
    errors.filter_map(io::Error::raw_os_error).last().map(io::Error::from_raw_os_error)
}

/// Returns the system's error if it means that too many files are open.
fn out_of_files(error: &(dyn StdError + 'static)) -> Option<io::Error> {
    let mut errors = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
    let code = errors.find(|error| error::has_too_many_open_files(error))?.raw_os_error()?;
    Some(io::Error::from_raw_os_error(code))
}

/// Whether any cause is an `E` that matches `predicate`.
fn is_caused_by<E: StdError + 'static>(error: &(dyn StdError + 'static), predicate: impl Fn(&E) -> bool) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<E>()).any(predicate)
}

/// The kind of the innermost I/O error that is more specific than `Other`.
fn io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let kinds = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kinds.filter(|kind| *kind != io::ErrorKind::Other).last()
}

/// The innermost cause, which is the most specific.
fn root(error: &(dyn StdError + 'static)) -> Cause {
    causes(error).last().map_or_else(String::new, ToString::to_string).into()
}

/// An error and its causes. `io::Error::source` skips the error that it wraps, so it is unwrapped here.
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
    fn every_kind_of_io_error_in_a_body_is_classified() {
        let classify = |kind: io::ErrorKind, expected| {
            let failure = classify_read(&io::Error::new(kind, "x"), 3, expected, Duration::from_secs(1));
            (failure.kind(), failure.is_temporary())
        };
        for kind in [UnexpectedEof, Other] {
            assert_eq!(classify(kind, Some(5)), ("truncated", true), "{kind:?}");
            assert_eq!(classify(kind, None), ("broken", true), "{kind:?}");
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
            assert_eq!(classify(kind, Some(5)), ("broken", true), "{kind:?}");
        }
    }

    #[test]
    fn causes_are_found_at_any_depth() {
        let inner = io::Error::new(ConnectionReset, "reset");
        let outer = io::Error::other(io::Error::other(inner));
        assert_eq!(io_kind(&outer), Some(ConnectionReset));
        assert_eq!(root(&outer).to_string(), "reset");
    }
}
