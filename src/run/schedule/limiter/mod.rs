//! How many requests one host may have in flight. Pure: it is told what happens, and when.
//!
//! It starts with [`START`](trial::START) requests for downloads, and with none for segments of files: a connection that
//! fills the link alone stays alone. From there it finds the number by itself, between 1 and the maximum:
//!
//! - **Growth.** A trial raises the number, at most fourfold, and lowers it again if that brings too little: beyond
//!   sixteen requests, twice as many must bring a third more, because servers are shared. Then it waits, longer each
//!   time, before the next trial, because links change.
//! - Many **small files** are judged by Little's law, as TCP Vegas judges its window: what is served per second, times
//!   the time that a request takes alone, is how many the link and the server hold; the rest would only queue. The
//!   first requests to end are not the mean; so a trial follows a cohort of requests until nearly all have ended.
//! - **Large files and segments** are judged by bytes per second, as BBR judges its rate: the speed in a window of
//!   several round trips against that before. No trial begins while the speed still grows of itself (slow start).
//! - **Refusals** set an upper bound; `refusals` says which of them count. Below it the number grows additively, as in
//!   TCP; but what was refused in a burst says how many were not, so it is not halved.
//!
//! The latency of a request alone, which Netflix's concurrency-limits follow, is too little here: files differ in size,
//! and their time is mostly that of slow start. The success ratio that `hf_xet` and the SDKs of AWS adapt to comes too
//! late on a host that never refuses.
//!
//! `simulation` compares the result with the best fixed number over modelled links.

mod growth;
mod refusals;
mod requests;
mod speed;
mod throughput;
mod trial;

pub use growth::Wants;
pub use refusals::Ticket;

use std::time::Instant;

use crate::http::{Timing, TrafficSnapshot};
use growth::Growth;
use refusals::Refusals;
use requests::Request;

/// How a download in one request went.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    pub timing: Timing,
    pub bytes: u64,
}

/// The limiter of one host.
#[derive(Debug)]
pub struct Limiter {
    growth: Growth,
    refusals: Refusals,
}

impl Limiter {
    /// A limiter that never permits more than `max` requests.
    pub fn new(max: usize) -> Self {
        Self { growth: Growth::new(max), refusals: Refusals::default() }
    }

    /// A limiter that always permits so many requests.
    #[cfg(test)]
    pub fn fixed(count: usize) -> Self {
        Self { growth: Growth::fixed(count), refusals: Refusals::default() }
    }

    /// How many requests may be in flight, if the next one is for a download.
    pub fn limit(&self) -> usize {
        self.refusals.bound().map_or(self.growth.limit(), |bound| bound.min(self.growth.limit()))
    }

    /// How many requests may be in flight, if the next one is for a segment.
    pub fn segment_limit(&self) -> usize {
        self.refusals.bound().map_or(self.growth.segment_limit(), |bound| bound.min(self.growth.segment_limit()))
    }

    /// Whether a segment that is requested now, with `in_flight` requests in flight, is part of a trial.
    pub fn is_trial(&self, in_flight: usize) -> bool {
        in_flight >= self.growth.width()
    }

    /// A request starts.
    pub fn start(&mut self, now: Instant) -> Ticket {
        self.growth.started(now);
        self.refusals.start(now)
    }

    /// The host served a request for the download `id`; `served` says how, if it was for the whole file.
    /// `wants_downloads` says whether more downloads are waiting than may start.
    pub fn served(&mut self, now: Instant, ticket: Ticket, id: usize, served: Option<Served>, wants_downloads: bool) {
        self.refusals.served(ticket, id, self.growth.limit());
        if let Some(Served { timing: Timing { connect, first_byte }, bytes }) = served {
            let time = now.saturating_duration_since(ticket.started).saturating_sub(connect.unwrap_or_default());
            let request = Request { time, first_byte, connect, bytes };
            let may_try = wants_downloads && self.refusals.bound().is_none();
            self.growth.served(now, ticket.started, &request, may_try);
        } else {
            self.growth.ended(ticket.started);
        }
    }

    /// The host refused a request for the download `id`, or for a segment, with `in_flight` requests in flight including
    /// that.
    pub fn refused(&mut self, now: Instant, ticket: Ticket, id: Option<usize>, in_flight: usize) {
        self.growth.ended(ticket.started);
        let is_lower = match id {
            Some(id) => self.refusals.refused(now, ticket, id, in_flight),
            None => self.refusals.segment_refused(now, ticket, in_flight),
        };
        if is_lower {
            self.growth.abort_trial();
        }
    }

    /// Makes it known that so many requests bring more bytes than fewer.
    #[cfg(test)]
    pub fn prove(&mut self, width: usize) {
        self.growth.prove(width);
    }

    /// A request has ended that says nothing about the host.
    pub fn ended(&mut self, ticket: Ticket) {
        self.growth.ended(ticket.started);
    }

    /// Time has passed. `traffic` is what has arrived from the host so far.
    pub fn tick(&mut self, now: Instant, traffic: TrafficSnapshot, in_flight: usize, wants: Wants) {
        self.refusals.tick(now, in_flight);
        self.growth.tick(now, traffic, in_flight, wants, self.refusals.bound().is_none_or(|bound| in_flight < bound));
    }
}
