//! How long the parts of an exchange took. Connecting is told apart from waiting for the server: a connection that is
//! reused has only the latter.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

tokio::task_local! {
    /// The time that it took to connect, in the task that sends the request.
    static CONNECTED_IN: Arc<OnceLock<Duration>>;
}

/// How long the parts of an exchange took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Opening the connection, with its TLS handshake; `None` if an open one was used.
    pub connect: Option<Duration>,
    /// From when the request could be sent to the head of the response.
    pub first_byte: Duration,
}

/// Measures one exchange from now on.
#[derive(Debug)]
pub struct Stopwatch {
    started: Instant,
    connected_in: Arc<OnceLock<Duration>>,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self { started: Instant::now(), connected_in: Arc::default() }
    }

    /// Runs the sending of the request.
    pub async fn measure<F: Future>(&self, send: F) -> F::Output {
        CONNECTED_IN.scope(Arc::clone(&self.connected_in), send).await
    }

    /// The head of the response has arrived.
    pub fn head_arrived(&self) -> Timing {
        let connect = self.connected_in.get().copied();
        Timing { connect, first_byte: self.started.elapsed().saturating_sub(connect.unwrap_or_default()) }
    }
}

/// Runs the opening of a connection, and notes how long it took.
pub async fn time_connect<F: Future>(connect: F) -> F::Output {
    let started = Instant::now();
    // Not set if the client opens a connection in the background, for a later request.
    let connected_in = CONNECTED_IN.try_with(Arc::clone).ok();
    let connection = connect.await;
    if let Some(connected_in) = connected_in {
        let _ = connected_in.set(started.elapsed());
    }
    connection
}
