//! Resolves host names with the system's resolver, and keeps its error code.
//!
//! reqwest calls the same resolver but keeps only the error's text, which does not distinguish a name that does not
//! exist from a name server that does not respond. It also resolves names on threads that its runtime joins on
//! shutdown. Here each lookup has a detached thread, so that one that hangs does not keep the process alive.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::thread;

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::oneshot;

/// A resolver that calls `getaddrinfo`.
#[derive(Debug)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (sender, receiver) = oneshot::channel();
        let host = name.as_str().to_owned();
        let name = host.clone();
        let look_up_and_send = move || drop(sender.send(look_up(&name)));
        let started = thread::Builder::new().name("tdl-resolver".to_owned()).spawn(look_up_and_send);
        Box::pin(async move {
            let result = match started {
                Err(error) => Err(Cause::Thread(error)),
                // Nothing is sent only if the thread panics.
                Ok(_) => receiver.await.unwrap_or_else(|error| Err(Cause::Thread(io::Error::other(error)))),
            };
            match result {
                Ok(addresses) => Ok(Box::new(addresses.into_iter()) as Addrs),
                Err(cause) => Err(ResolveError { host, cause }.into()),
            }
        })
    }
}

/// Returns the addresses of a host in the resolver's order (RFC 6724), with port 0.
fn look_up(host: &str) -> Result<Vec<SocketAddr>, Cause> {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let found = getaddrinfo(Some(host), None, Some(hints)).map_err(Cause::Lookup)?;
    // `flatten` skips addresses of families that the crate does not know.
    Ok(found.flatten().map(|found| found.sockaddr).collect())
}

/// Why a host name has no address.
#[derive(Debug)]
pub struct ResolveError {
    host: String,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Lookup(LookupError),
    /// The thread for the lookup could not be started.
    Thread(io::Error),
}

impl ResolveError {
    /// Whether the same lookup may succeed later. Only a name known not to exist, or to have no address, is permanent.
    pub fn is_temporary(&self) -> bool {
        match &self.cause {
            Cause::Lookup(error) => !matches!(error.kind(), LookupErrorKind::NoName | LookupErrorKind::NoData),
            Cause::Thread(_) => true,
        }
    }
}

impl std::error::Error for ResolveError {}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.host)?;
        match &self.cause {
            Cause::Lookup(error) => error.fmt(f),
            Cause::Thread(error) => write!(f, "no thread could be started to look it up: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn only_a_name_that_is_known_to_have_no_address_is_permanent() {
        // EAI_BADFLAGS to EAI_OVERFLOW, as netdb.h has them.
        for (code, temporary) in [
            (-1, true),
            (-2, false),
            (-3, true),
            (-4, true),
            (-5, false),
            (-6, true),
            (-7, true),
            (-8, true),
            (-9, true),
            (-10, true),
            (-11, true),
            (-12, true),
        ] {
            let error = ResolveError { host: "h".to_owned(), cause: Cause::Lookup(LookupError::new(code)) };
            assert_eq!(error.is_temporary(), temporary, "{code}: {error}");
        }
    }

    #[test]
    fn a_missing_thread_and_an_unknown_code_are_temporary() {
        let error = || io::Error::from(io::ErrorKind::WouldBlock);
        for cause in [Cause::Thread(error()), Cause::Lookup(error().into())] {
            assert!(ResolveError { host: String::new(), cause }.is_temporary());
        }
    }

    #[test]
    fn localhost_has_loopback_addresses() {
        let found = look_up("localhost").unwrap();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
    }
}
