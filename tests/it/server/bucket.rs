//! A limit on the speed of all responses together, as a link or a server has one.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A token bucket: what is sent through it is spread evenly over time, however many responses share it.
#[derive(Debug)]
pub struct Bucket {
    bytes_per_second: f64,
    /// When the next bytes may be sent.
    next: Mutex<Instant>,
}

/// How much a server that woke up late may catch up with.
const BURST: Duration = Duration::from_millis(10);

impl Bucket {
    pub fn new(bytes_per_second: f64) -> Self {
        Self { bytes_per_second, next: Mutex::new(Instant::now()) }
    }

    /// Reserves the time for some bytes, and returns how long to wait before they are sent.
    pub(super) fn take(&self, bytes: usize) -> Duration {
        let mut next = self.next.lock().unwrap();
        let now = Instant::now();
        let start = now.checked_sub(BURST).map_or(*next, |earliest| earliest.max(*next));
        *next = start + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        start.saturating_duration_since(now)
    }
}
