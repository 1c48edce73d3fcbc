//! What has arrived from one host so far, counted as it is read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::timing::Timing;

/// Counters for one host: written by the threads that read responses, read by anyone.
#[derive(Debug, Default)]
pub struct Traffic {
    received: AtomicU64,
    responses: AtomicU64,
    /// Of the last response, in microseconds.
    first_byte: AtomicU64,
    /// Of the last connection, in microseconds.
    connect: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrafficSnapshot {
    /// Bytes of bodies.
    pub received: u64,
    /// Heads of responses.
    pub responses: u64,
    /// The last response's time to its first byte.
    pub first_byte: Duration,
    /// The time that it took to open the last connection.
    pub connect: Duration,
}

impl Traffic {
    pub(super) fn count_response(&self, timing: Timing) {
        self.responses.fetch_add(1, Relaxed);
        self.first_byte.store(micros(timing.first_byte), Relaxed);
        if let Some(connect) = timing.connect {
            self.connect.store(micros(connect), Relaxed);
        }
    }

    pub(super) fn count_bytes(&self, count: u64) {
        self.received.fetch_add(count, Relaxed);
    }

    pub fn snapshot(&self) -> TrafficSnapshot {
        TrafficSnapshot {
            received: self.received.load(Relaxed),
            responses: self.responses.load(Relaxed),
            first_byte: Duration::from_micros(self.first_byte.load(Relaxed)),
            connect: Duration::from_micros(self.connect.load(Relaxed)),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
