//! A segment that is assigned to a thread, with what is known of its response. Pure: the time is an argument.

use std::task::Waker;
use std::time::{Duration, Instant};

use super::claim::Candidate;
use super::meter::SpeedMeter;
use super::ranges::Ranges;

/// Before this, or two round trips if that is longer, the speed of a response is unknown.
const MIN_SETTLE: Duration = Duration::from_millis(100);

/// A response of which nothing has arrived for this long, or for three round trips if that is longer, has stalled. TCP
/// sends a lost packet again after 200 ms at least (Linux).
pub const MIN_STALL: Duration = Duration::from_millis(250);

/// Each time that a stalled segment is taken over, the next stall must last twice as long, up to this many times.
const MAX_DOUBLINGS: u32 = 7;

/// Names a segment for as long as it is assigned. No two of a file ever have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentId(pub u64);

/// A segment that is assigned to a thread.
#[derive(Debug)]
pub struct Active {
    pub id: SegmentId,
    pub start: u64,
    /// The offset of the response's next byte.
    pub position: u64,
    pub end: u64,
    /// Where the response ends, or was requested to end. The segment may be extended up to there.
    pub reach: u64,
    pub reserved: Option<(u64, u64)>,
    /// What this segment has written.
    pub written: Ranges,
    pub assigned: Instant,
    /// Measures the response, if it has arrived.
    pub meter: Option<SpeedMeter>,
    /// Whether its rest is unclaimed; otherwise the segment was taken from another one's end.
    pub is_open_ended: bool,
    /// How often in a row its bytes were taken from a stalled segment.
    pub takeovers: u32,
    /// Whether it has nothing more to write.
    pub is_over: bool,
    /// Woken when it is over.
    pub waker: Option<Waker>,
}

impl Active {
    pub fn new(id: SegmentId, (start, end): (u64, u64), now: Instant) -> Self {
        Self {
            id,
            start,
            position: start,
            end,
            reach: end,
            reserved: None,
            written: Ranges::default(),
            assigned: now,
            meter: None,
            is_open_ended: true,
            takeovers: 0,
            is_over: false,
            waker: None,
        }
    }

    /// Whether it has written any bytes.
    pub fn has_written(&self) -> bool {
        self.written.count() > 0
    }

    /// Its current speed, or that since it began if it is new; `None` without a response.
    pub fn recent_speed(&self, now: Instant) -> Option<f64> {
        let meter = self.meter.as_ref()?;
        Some(meter.speed(now, self.position, MIN_SETTLE).unwrap_or_else(|| meter.mean(now, self.position)))
    }

    /// Records that it has nothing more to write, and wakes its thread.
    pub fn end(&mut self) {
        self.is_over = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Describes it for a decision, unless it is over or its speed is unknown. `missing` is the first byte from its
    /// position on that is neither written nor reserved.
    pub fn candidate(&self, missing: u64, round_trip: Duration, now: Instant) -> Option<Candidate> {
        let stall = MIN_STALL.max(round_trip.saturating_mul(3)).saturating_mul(1 << self.takeovers.min(MAX_DOUBLINGS));
        let waited = now.saturating_duration_since(self.assigned);
        let age = self.meter.as_ref().map_or(waited, |meter| meter.age(now));
        let (speed, mean_speed) = match &self.meter {
            _ if self.is_over => return None,
            // While it writes, it is the disk that is slow.
            Some(meter) if self.reserved.is_none() && meter.idle(now) >= stall => (0.0, 0.0),
            Some(meter) => {
                let settle = MIN_SETTLE.max(round_trip.saturating_mul(2));
                // It may not have begun to arrive.
                let speed = meter.speed(now, self.position, settle).filter(|speed| *speed > 0.0)?;
                (speed, meter.mean(now, self.position))
            }
            None if waited >= stall.saturating_add(round_trip) => (0.0, 0.0),
            None => return None,
        };
        let rest = self.end.saturating_sub(missing);
        Some(Candidate { rest, speed, mean_speed, age, is_open_ended: self.is_open_ended })
    }
}
