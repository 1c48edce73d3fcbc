//! A bounded pool of connections around a reqwest client. `clients` decides how many there are.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use reqwest::{Client, ClientBuilder};
use tower_layer::layer_fn;
use tower_service::Service;

use super::failure;
use super::timing::time_connect;
use crate::error::Error;

/// A reqwest client, built when first needed, and replaced before it keeps too many connections open.
///
/// reqwest keeps idle connections to any number of hosts, and cannot close those to a single one. So the whole client
/// is replaced once it has opened as many connections as may be kept. Requests in flight are not affected.
#[derive(Debug)]
pub struct ConnectionPool {
    current: Mutex<Option<Current>>,
    /// Opens a new connection for each request.
    unpooled: OnceLock<Client>,
    /// How many connections a client may open before it is replaced.
    max_connections: usize,
    /// An upper bound for the idle connections: responses, each of which may have left one, minus failures that may be
    /// due to reusing one.
    possibly_idle: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Current {
    client: Client,
    opened: Arc<AtomicUsize>,
}

/// Which connections a request may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// An idle connection of an earlier request, if there is one.
    Reused,
    New,
}

impl ConnectionPool {
    pub fn new(max_connections: usize) -> Self {
        Self { current: Mutex::new(None), unpooled: OnceLock::new(), max_connections, possibly_idle: Arc::default() }
    }

    /// Returns a client that uses this kind of connection, and builds it with `builder` if needed. One thread builds it
    /// while the others wait. If that fails, the next one tries again.
    pub fn client(
        &self,
        connection: Connection,
        builder: impl FnOnce() -> Result<ClientBuilder, Error>,
    ) -> Result<Client, Error> {
        match connection {
            Connection::Reused => self.pooled(builder),
            Connection::New => {
                if let Some(client) = self.unpooled.get() {
                    return Ok(client.clone());
                }
                let client = builder()?.pool_max_idle_per_host(0).build().map_err(failure::classify_setup)?;
                Ok(self.unpooled.get_or_init(|| client).clone())
            }
        }
    }

    fn pooled(&self, builder: impl FnOnce() -> Result<ClientBuilder, Error>) -> Result<Client, Error> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = current.as_ref().filter(|current| current.opened() < self.max_connections) {
            return Ok(current.client.clone());
        }
        // Closes the old client's idle connections before the new one opens any.
        *current = None;
        let opened = Arc::default();
        let client = builder()?.connector_layer(counting(&opened)).build().map_err(failure::classify_setup)?;
        *current = Some(Current { client: client.clone(), opened });
        Ok(client)
    }

    /// Returns a callback for when a response has arrived: its connection may now become idle.
    pub fn response_callback(&self, connection: Connection) -> impl FnOnce() + Send + use<> {
        let possibly_idle = Arc::clone(&self.possibly_idle);
        move || {
            possibly_idle.fetch_add(usize::from(connection == Connection::Reused), Ordering::Relaxed);
        }
    }

    /// Records a failed request. Returns whether it may have been sent over a reused connection, which reqwest does not
    /// report.
    pub fn note_failure(&self) -> bool {
        let decrement = |count: usize| count.checked_sub(1);
        self.possibly_idle.fetch_update(Ordering::Relaxed, Ordering::Relaxed, decrement).is_ok()
    }

    /// Closes all idle connections.
    pub fn close_idle(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Current {
    fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

/// Returns a layer that counts the connections as they are opened, and times them.
fn counting<S>(opened: &Arc<AtomicUsize>) -> impl tower_layer::Layer<S, Service = Counting<S>> + Clone + use<S> {
    let opened = Arc::clone(opened);
    layer_fn(move |inner| Counting { inner, opened: Arc::clone(&opened) })
}

#[derive(Debug, Clone)]
struct Counting<S> {
    inner: S,
    opened: Arc<AtomicUsize>,
}

impl<S: Service<R>, R> Service<R> for Counting<S>
where
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Box::pin(time_connect(self.inner.call(request)))
    }
}
