//! A server on loopback that can be told to be faulty, and that reports what it was asked.
//!
//! Each test starts one with a function from a [`Request`] to a [`Reply`]. It stops when it is dropped: no thread of it
//! outlives a test for long.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

pub use bucket::Bucket;
pub use gate::Gate;
pub use reply::Reply;
pub use request::Request;
use shared::{Handler, Shared};

mod bucket;
mod connection;
mod gate;
mod reply;
mod request;
mod shared;

/// The longest that a test waits for something that should happen at once.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A server that runs until it is dropped.
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(Box::new(handler), None)
    }

    /// Starts a server with TLS and a self-signed certificate for `localhost` and 127.0.0.1.
    pub fn start_tls(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let signed = rcgen::generate_simple_self_signed(names).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], key)
            .unwrap();
        Self::listen(Box::new(handler), Some(Arc::new(config)))
    }

    /// Starts a server of small files: the content of each is its path.
    pub fn echo() -> Self {
        Self::start(|request| Reply::ok(request.target.clone()))
    }

    fn listen(handler: Box<Handler>, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared::new(handler, tls));
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                if shared.state().is_shut_down {
                    break;
                }
                shared.state().connections += 1;
                // An error is a client that went away, which ends its connection and nothing else.
                thread::spawn(move || drop(connection::serve(&shared, stream)));
            }
        });
        Self { address, scheme, shared }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// Every request so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// The targets of all requests, sorted.
    pub fn targets(&self) -> Vec<String> {
        let mut targets: Vec<_> = self.requests().into_iter().map(|request| request.target).collect();
        targets.sort();
        targets
    }

    /// The most requests that were being answered at one moment.
    pub fn most_at_once(&self) -> usize {
        self.shared.state().max_in_flight
    }

    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// The bytes of all bodies that were sent so far, as far as the system took them.
    pub fn body_bytes_sent(&self) -> usize {
        self.shared.state().body_bytes_sent
    }

    /// Waits until this many requests have arrived.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) {
        let state = self.shared.wait_while(TIMEOUT, |state| state.requests.len() < count);
        let arrived = state.requests.len();
        drop(state);
        assert!(arrived >= count, "only {arrived} of {count} requests arrived");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.shut_down();
        // Wakes the thread that accepts connections.
        let _ = TcpStream::connect(self.address);
    }
}
