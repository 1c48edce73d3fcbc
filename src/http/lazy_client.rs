//! A client of the library, made when it is first needed, and made anew before it keeps too many connections open.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use reqwest::{Client, ClientBuilder};
use tower_layer::layer_fn;
use tower_service::Service;

use super::failure;
use crate::error::Error;

/// A client that is set up when it is first asked for.
///
/// The library keeps connections to any number of hosts and cannot be told to close those of one. So it is the client
/// that goes: once it has opened as many connections as may be kept, a new one takes its place. Requests that are on
/// their way end as usual.
#[derive(Debug)]
pub struct LazyClient {
    current: Mutex<Option<Current>>,
    /// Makes a connection for each request.
    unpooled: OnceLock<Client>,
    /// Connections that a client may open.
    max_connections: usize,
    /// Requests that were answered, each of which may have left a connection open, less those that failed since and may
    /// have been sent over one of these.
    answered: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Current {
    client: Client,
    opened: Arc<AtomicUsize>,
}

/// Whether a request may use a connection that an earlier one has left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    Kept,
    New,
}

impl LazyClient {
    pub fn new(max_connections: usize) -> Self {
        Self { current: Mutex::new(None), unpooled: OnceLock::new(), max_connections, answered: Arc::default() }
    }

    /// The client for such a connection, made with `builder` if there is none that may still be used. One thread makes it
    /// while the others that share it wait. If that fails, the next one tries again.
    ///
    /// # Errors
    ///
    /// [`Error::Client`].
    pub fn client(
        &self,
        connection: Connection,
        builder: impl FnOnce() -> Result<ClientBuilder, Error>,
    ) -> Result<Client, Error> {
        match connection {
            Connection::Kept => self.pooled(builder),
            Connection::New => {
                if let Some(client) = self.unpooled.get() {
                    return Ok(client.clone());
                }
                let client = builder()?.pool_max_idle_per_host(0).build().map_err(failure::of_setup)?;
                Ok(self.unpooled.get_or_init(|| client).clone())
            }
        }
    }

    fn pooled(&self, builder: impl FnOnce() -> Result<ClientBuilder, Error>) -> Result<Client, Error> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = current.as_ref().filter(|current| current.opened() < self.max_connections) {
            return Ok(current.client.clone());
        }
        // The connections that the old one keeps are closed before the new one opens any.
        *current = None;
        let opened = Arc::default();
        let client = builder()?.connector_layer(counting(&opened)).build().map_err(failure::of_setup)?;
        *current = Some(Current { client: client.clone(), opened });
        Ok(client)
    }

    /// Takes note that a request was answered over such a connection, which may be used again if it is kept.
    pub fn note_answer(&self, connection: Connection) -> impl FnOnce() + Send + use<> {
        let answered = Arc::clone(&self.answered);
        move || {
            answered.fetch_add(usize::from(connection == Connection::Kept), Ordering::Relaxed);
        }
    }

    /// A request failed. Whether it may have been sent over a connection that was used before: the library does not say.
    pub fn note_failure(&self) -> bool {
        let less = |answered: usize| answered.checked_sub(1);
        self.answered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Closes the connections that are kept open and not in use.
    pub fn close_idle(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Current {
    fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

/// Counts the connections that are opened.
fn counting<S>(opened: &Arc<AtomicUsize>) -> impl tower_layer::Layer<S, Service = Counting<S>> + Clone + use<S> {
    let opened = Arc::clone(opened);
    layer_fn(move |inner| Counting { inner, opened: Arc::clone(&opened) })
}

#[derive(Debug, Clone)]
struct Counting<S> {
    inner: S,
    opened: Arc<AtomicUsize>,
}

impl<S: Service<R>, R> Service<R> for Counting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.inner.call(request)
    }
}
