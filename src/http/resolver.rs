//! Host names to addresses, by the system's resolver, with the code that it fails by.
//!
//! The HTTP library's own way to the same resolver keeps only the words, and they cannot tell a name that does not
//! exist from a name server that does not answer. It also looks names up on threads that its runtime waits for when it
//! ends. Here each look-up has a thread of its own that nobody waits for: one that is stuck keeps no process alive.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::thread;

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::oneshot;

/// `getaddrinfo`.
#[derive(Debug)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, finds) = oneshot::channel();
        let host = name.as_str().to_owned();
        let asked = host.clone();
        let work = move || drop(found.send(addresses(&asked)));
        let started = thread::Builder::new().name("tdl-resolver".to_owned()).spawn(work);
        Box::pin(async move {
            let found = match started {
                Err(error) => Err(Cause::Thread(error)),
                // Only a thread that panicked sends nothing.
                Ok(_) => finds.await.unwrap_or_else(|error| Err(Cause::Thread(io::Error::other(error)))),
            };
            match found {
                Ok(addresses) => Ok(Box::new(addresses.into_iter()) as Addrs),
                Err(cause) => Err(Unresolved { host, cause }.into()),
            }
        })
    }
}

/// The addresses of a host in the resolver's order (RFC 6724), with port 0.
fn addresses(host: &str) -> Result<Vec<SocketAddr>, Cause> {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let found = getaddrinfo(Some(host), None, Some(hints)).map_err(Cause::Lookup)?;
    // Addresses of a family that this program does not know are passed over.
    Ok(found.flatten().map(|found| found.sockaddr).collect())
}

/// Why a host name has no address.
#[derive(Debug)]
pub struct Unresolved {
    host: String,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Lookup(LookupError),
    /// There was no thread to look it up.
    Thread(io::Error),
}

impl Unresolved {
    /// Whether the same look-up may succeed later: always, unless the name is known not to exist or to have no address.
    pub fn is_temporary(&self) -> bool {
        match &self.cause {
            Cause::Lookup(error) => !matches!(error.kind(), LookupErrorKind::NoName | LookupErrorKind::NoData),
            Cause::Thread(_) => true,
        }
    }
}

impl std::error::Error for Unresolved {}

impl fmt::Display for Unresolved {
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
            let unresolved = Unresolved { host: "h".to_owned(), cause: Cause::Lookup(LookupError::new(code)) };
            assert_eq!(unresolved.is_temporary(), temporary, "{code}: {unresolved}");
        }
    }

    #[test]
    fn no_thread_and_what_is_no_code_are_temporary() {
        let error = || io::Error::from(io::ErrorKind::WouldBlock);
        for cause in [Cause::Thread(error()), Cause::Lookup(error().into())] {
            assert!(Unresolved { host: String::new(), cause }.is_temporary());
        }
    }

    #[test]
    fn addresses_are_found() {
        let found = addresses("localhost").unwrap();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
    }
}
