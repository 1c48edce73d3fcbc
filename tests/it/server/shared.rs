//! What the threads of a server share: its handler, and what it has seen.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::reply::Reply;
use super::request::Request;

pub type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

pub struct Shared {
    pub handler: Box<Handler>,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub struct State {
    pub requests: Vec<Request>,
    pub connections: usize,
    pub max_in_flight: usize,
    pub body_bytes_sent: usize,
    pub is_shut_down: bool,
    in_flight: usize,
}

/// A request that is being answered, until this is dropped.
pub struct InFlight<'a>(&'a Shared);

impl Shared {
    pub fn new(handler: Box<Handler>, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        Self { handler, tls, state: Mutex::default(), changed: Condvar::new() }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Counts a request, which `make` makes from its number and how many are in flight with it.
    pub fn add_request(&self, make: impl FnOnce(usize, usize) -> Request) -> (Request, InFlight<'_>) {
        let mut state = self.state();
        state.in_flight += 1;
        state.max_in_flight = state.max_in_flight.max(state.in_flight);
        let request = make(state.requests.len(), state.in_flight);
        state.requests.push(request.clone());
        self.changed.notify_all();
        (request, InFlight(self))
    }

    pub fn shut_down(&self) {
        self.state().is_shut_down = true;
        self.changed.notify_all();
    }

    /// Waits while a condition holds, no longer than `time`.
    pub fn wait_while(&self, time: Duration, mut condition: impl FnMut(&State) -> bool) -> MutexGuard<'_, State> {
        let state = self.state();
        let (state, _) = self.changed.wait_timeout_while(state, time, |state| condition(state)).unwrap();
        state
    }

    /// Waits, but not beyond the end of the server.
    pub fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        if !time.is_zero() {
            drop(self.wait_while(until.saturating_duration_since(Instant::now()), |state| !state.is_shut_down));
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.state().in_flight -= 1;
    }
}
