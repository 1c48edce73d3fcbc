//! Finds how many requests a host is best asked at once, by trying: a trial raises the number, and is kept if more
//! arrives per second.

use std::time::{Duration, Instant};

use super::requests::{Cohort, Request, Requests};
use super::throughput::Throughput;
use super::trial::{Measure, START, Trial, is_linear, min_gain};
use crate::http::TrafficSnapshot;

/// Requests that take less than this are limited by the processor rather than by waiting.
const MIN_REQUEST_TIME: Duration = Duration::from_millis(5);

/// With as many requests as a link holds at once it is not always busy: this many times as many, and it nearly is.
const MARGIN: f64 = 1.5;

/// The wait after the first failed trial. It doubles with each.
const FIRST_INTERVAL: Duration = Duration::from_secs(5);
const MAX_INTERVAL: Duration = Duration::from_secs(80);

/// The speed is calm if it is even over so many windows, or steady over windows that are so many times as long.
const EVEN_WINDOWS: u32 = 3;
const CALM_WINDOWS: u32 = 8;

/// A file is worth a trial if it will take longer than this.
const MIN_TIME_LEFT: Duration = Duration::from_secs(1);

/// What would start now if the host had more permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    Nothing,
    Downloads,
    /// Segments of running downloads, the slowest of which will take this long.
    Segments(Duration),
}

/// The number of requests to one host.
#[derive(Debug)]
pub struct Growth {
    max: usize,
    /// How many requests may be in flight if they are for downloads.
    limit: usize,
    /// How many requests have been shown to bring more bytes than fewer. Segments may be requested up to it.
    width: usize,
    trial: Option<Trial>,
    /// How many times as many the next trial is of.
    factor: usize,
    /// No trial begins before.
    pause_until: Option<Instant>,
    interval: Duration,
    /// The speed when a trial failed.
    failed_at: Option<f64>,
    /// Whether the last trial showed that requests do not hinder each other.
    is_linear: bool,
    /// The requests served since the limit changed.
    served: Requests,
    /// What a request takes alone.
    time_alone: Duration,
    /// The last requests' time to connect, and to the first byte.
    connect: Duration,
    first_byte: Duration,
    /// The time to the first byte before the limit was raised beyond [`START`], and the requests since the last check.
    calm_first_byte: Duration,
    recent: Requests,
    last_served: Option<Instant>,
    throughput: Throughput,
}

impl Growth {
    pub fn new(max: usize) -> Self {
        Self {
            max,
            limit: START.min(max),
            width: 0,
            trial: None,
            factor: 2,
            pause_until: None,
            interval: FIRST_INTERVAL,
            failed_at: None,
            is_linear: false,
            served: Requests::default(),
            time_alone: Duration::ZERO,
            connect: Duration::ZERO,
            first_byte: Duration::ZERO,
            calm_first_byte: Duration::ZERO,
            recent: Requests::default(),
            last_served: None,
            throughput: Throughput::default(),
        }
    }

    /// How many requests may be in flight when a download is about to start.
    pub fn limit(&self) -> usize {
        self.trial.as_ref().map_or(self.limit, |trial| trial.released.max(self.limit))
    }

    /// How many requests may be in flight when a segment is about to be requested.
    pub fn segment_limit(&self) -> usize {
        match &self.trial {
            Some(trial) if trial.is_of_bytes() => self.width.max(trial.to),
            _ => self.width,
        }
    }

    /// How many requests have been shown to bring more bytes than fewer.
    pub fn width(&self) -> usize {
        self.width
    }

    #[cfg(test)]
    pub fn fixed(count: usize) -> Self {
        Self { limit: count, width: count, ..Self::new(count) }
    }

    #[cfg(test)]
    pub fn prove(&mut self, width: usize) {
        self.width = width;
    }

    /// Ends a trial because the host has refused requests.
    pub fn abort_trial(&mut self) {
        self.trial = None;
        self.factor = 2;
    }

    /// Takes account of a request that starts.
    pub fn started(&mut self, now: Instant) {
        if let Some(Trial { measure: Measure::Requests(tried), .. }) = &mut self.trial {
            tried.started(now);
        }
    }

    /// Takes account of a request that ends, however it does. Returns whether it was among those that are tried.
    pub fn ended(&mut self, started: Instant) -> bool {
        let Some(Trial { measure: Measure::Requests(tried), .. }) = &mut self.trial else { return false };
        let is_tried = tried.contains(started);
        tried.ended(started);
        is_tried
    }

    /// Takes account of a download whose request, started at `started`, was served. `may_try` says whether a trial may
    /// begin: more downloads are waiting than may start.
    pub fn served(&mut self, now: Instant, started: Instant, request: &Request, may_try: bool) {
        if self.ended(started)
            && let Some(Trial { measure: Measure::Requests(tried), .. }) = &mut self.trial
        {
            tried.ended.add(request);
        }
        if self.trial.is_none() {
            self.served.add(request);
        }
        self.first_byte = request.first_byte;
        self.connect = request.connect.unwrap_or(self.connect);
        self.last_served = Some(now);
        self.trial.iter_mut().for_each(|trial| trial.release(now));
        self.check_swelling(now, request);
        self.judge_requests(now);
        if may_try && self.may_begin_trial(now) {
            self.consider_requests(now);
        }
    }

    /// Takes account of what has arrived so far, with `in_flight` requests in flight.
    pub fn tick(&mut self, now: Instant, traffic: TrafficSnapshot, in_flight: usize, wants: Wants, may_try: bool) {
        self.throughput.record(now, traffic.received, in_flight);
        (self.connect, self.first_byte) = (traffic.connect, traffic.first_byte);
        self.trial.iter_mut().for_each(|trial| trial.release(now));
        // A trial of more requests is of no use without more requests.
        self.trial.take_if(|trial| wants != Wants::Downloads && !trial.is_of_bytes());
        // Where no request is served any more, nothing else ends a trial of them.
        self.judge_requests(now);
        self.judge_bytes(now, in_flight);
        self.check_collapse(now);
        if self.trial.is_none()
            && let Some(most) = self.throughput.compare_with_best(now, self.window())
        {
            self.width = self.width.max(most);
        }
        // Before most of the requests have got a response, nothing is known.
        if may_try && self.may_begin_trial(now) && traffic.responses >= (in_flight as u64).div_ceil(2) {
            let from = match wants {
                // As long as none ends, they are large.
                Wants::Downloads if self.ended_longer_ago_than(now, self.window() * 8) => self.limit,
                Wants::Segments(time_left) if time_left >= MIN_TIME_LEFT.max(self.first_byte * 10) => in_flight,
                _ => return,
            };
            self.consider_bytes(now, from);
        }
    }

    /// Whether more than [`START`] transfers may be tried. Where those before have overflowed a queue, bytes arrive in
    /// fits and starts, and more transfers would overflow it again.
    fn is_calm(&self, now: Instant) -> bool {
        let window = self.window();
        self.throughput.is_even(now, window, EVEN_WINDOWS) || self.throughput.is_steady(now, window * CALM_WINDOWS)
    }

    fn may_begin_trial(&self, now: Instant) -> bool {
        self.trial.is_none() && self.pause_until.is_none_or(|until| now >= until)
    }

    fn ended_longer_ago_than(&self, now: Instant, time: Duration) -> bool {
        self.last_served.is_none_or(|last| now.saturating_duration_since(last) > time)
    }

    /// Begins a trial of more downloads if enough is known about those before it.
    fn consider_requests(&mut self, now: Instant) {
        let served = &self.served;
        if served.count < (self.limit / 2).max(1) || served.mean_time() < MIN_REQUEST_TIME {
            return;
        }
        if served.mostly_transfer() && !self.is_calm(now) {
            return;
        }
        let alone = served.mean_time_alone();
        self.time_alone = if self.time_alone.is_zero() { alone } else { self.time_alone.min(alone) };
        let has_failed = self.interval > FIRST_INTERVAL;
        let to = (self.limit * if !has_failed && served.mostly_wait() { 4 } else { 2 }).min(self.max);
        // Bodies of several packets would fill a short queue if all new connections began at once.
        let release = (served.mean_time().saturating_sub(served.mean_first_byte())).min(served.mean_first_byte() * 2);
        // When the first request over each new connection should have ended.
        let warm_at = now + release + self.connect + served.mean_time();
        self.begin(self.limit, to, (now, release), warm_at, Measure::Requests(Cohort::new(warm_at, to / 4)));
    }

    /// Begins a trial of more bytes, if the speed has stopped growing of itself.
    fn consider_bytes(&mut self, now: Instant, from: usize) {
        let to = (from * self.factor).min(self.max);
        let window = self.window();
        let Some((last, before)) = self.throughput.last_two(now, window) else { return };
        let is_steady = self.throughput.is_constant(now, window * 2) && self.throughput.is_steady(now, window);
        if self.is_linear || (is_steady && (to <= START || self.is_calm(now))) {
            let base = if self.is_linear { last } else { last.max(f64::midpoint(last, before)) };
            let warm_at = now + self.connect + self.first_byte;
            self.begin(from, to, (now, Duration::ZERO), warm_at, Measure::Bytes { base });
        }
    }

    fn begin(&mut self, from: usize, to: usize, release: (Instant, Duration), warm_at: Instant, measure: Measure) {
        if to > from {
            let mut trial = Trial { from, to, released: from, release, warm_at, measure };
            trial.release(release.0);
            self.trial = Some(trial);
        }
    }

    /// Keeps as many requests as keep the link or the server busy: what is served per second, times what one request
    /// takes alone.
    fn judge_requests(&mut self, now: Instant) {
        let Some(Trial { from, to, warm_at, measure: Measure::Requests(tried), .. }) = &self.trial else { return };
        let (from, to) = (*from, *to);
        let is_late = now.saturating_duration_since(*warm_at) > (self.time_alone * 8).max(self.window() * 8);
        if !tried.is_complete() && !is_late {
            return;
        }
        let busy = tried.throughput(to, now) * self.time_alone.as_secs_f64();
        let useful = (busy * MARGIN).ceil() as usize;
        if useful >= to * 3 / 4 {
            self.calm_first_byte = self.first_byte;
            self.limit = to;
            self.accepted(useful as f64 / from as f64, from, to);
        } else {
            self.limit = if useful * 3 >= from * 4 { useful.min(to) } else { from };
            self.rejected(now, None);
        }
    }

    fn judge_bytes(&mut self, now: Instant, in_flight: usize) {
        let Some(Trial { from, to, warm_at, measure: Measure::Bytes { base }, .. }) = &self.trial else { return };
        let (from, base, warm_at) = (*from, *base, *warm_at);
        let (reached, window) = (in_flight.min(*to), self.window());
        let Some(measured) = now.checked_duration_since(warm_at) else { return };
        let since = now.checked_sub(window).map_or(warm_at, |start| start.max(warm_at));
        let Some(speed) = self.throughput.since(since, now) else { return };
        let ratio = speed / base.max(1.0);
        let is_late = measured >= (self.first_byte * 8).max(window * 2);
        let is_clear = measured >= window / 2 && reached > from && is_linear(ratio, from, reached);
        // A gain that is still growing may become a clear one.
        let is_gain = measured >= window && reached > from && ratio >= min_gain(from, reached);
        if is_clear || (is_gain && (is_late || self.throughput.is_steady(now, window))) {
            self.width = self.width.max(reached);
            self.limit = self.limit.max(reached);
            self.accepted(ratio, from, reached);
        } else if is_late {
            self.rejected(now, Some(speed.max(base)));
        }
    }

    fn accepted(&mut self, ratio: f64, from: usize, to: usize) {
        self.is_linear = is_linear(ratio, from, to);
        self.factor = if self.is_linear { 4 } else { 2 };
        (self.pause_until, self.interval, self.failed_at) = (None, FIRST_INTERVAL, None);
        self.end_trial();
    }

    fn rejected(&mut self, now: Instant, speed: Option<f64>) {
        (self.is_linear, self.factor) = (false, 2);
        self.pause_until = Some(now + self.interval);
        self.interval = (self.interval * 2).min(MAX_INTERVAL);
        self.failed_at = speed;
        self.end_trial();
    }

    fn end_trial(&mut self) {
        self.trial = None;
        (self.served, self.recent) = (Requests::default(), Requests::default());
    }

    /// Goes back if requests wait three times as long for their first byte as before the limit was raised: a queue
    /// builds up somewhere.
    fn check_swelling(&mut self, now: Instant, request: &Request) {
        if self.trial.is_some() || self.limit <= START || self.calm_first_byte.is_zero() {
            return;
        }
        self.recent.add(request);
        if self.recent.count < self.limit {
            return;
        }
        if self.recent.mean_first_byte() > self.calm_first_byte * 3 {
            self.limit = (self.limit / 2).max(START);
            self.rejected(now, None);
        }
        self.recent = Requests::default();
    }

    /// Lets a trial begin at once if the speed has fallen by half since the last one failed: things have changed.
    fn check_collapse(&mut self, now: Instant) {
        let Some(failed_at) = self.failed_at else { return };
        let speed = now.checked_sub(self.window()).and_then(|start| self.throughput.since(start, now));
        if speed.is_some_and(|speed| speed < failed_at / 2.0) {
            (self.pause_until, self.failed_at) = (None, None);
        }
    }

    /// The time over which speeds are compared: several round trips.
    fn window(&self) -> Duration {
        (self.first_byte * 3).clamp(Duration::from_millis(50), Duration::from_secs(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 64;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Runs downloads of this length, as many at once as permitted: each takes what `time` says for so many at once.
    /// Returns the highest and the last limit.
    fn run_requests(growth: &mut Growth, count: usize, bytes: u64, time: impl Fn(usize) -> Duration) -> (usize, usize) {
        let mut now = Instant::now();
        let mut running: Vec<(Instant, Instant)> = Vec::new();
        let (mut most, mut left) = (0, count);
        while left > 0 || !running.is_empty() {
            while running.len() < growth.limit() && left > 0 {
                growth.started(now);
                running.push((now + time(running.len() + 1), now));
                left -= 1;
            }
            most = most.max(running.len());
            running.sort_unstable();
            let (end, started) = running.remove(0);
            now = now.max(end);
            // The response begins after 100 ms, or at once.
            let request = Request { time: now - started, first_byte: at(100).min(now - started), connect: None, bytes };
            growth.served(now, started, &request, left > 0);
        }
        (most, growth.limit())
    }

    #[test]
    fn requests_that_only_wait_become_as_many_as_permitted() {
        let mut growth = Growth::new(MAX);
        assert_eq!(run_requests(&mut growth, 400, 4096, |_| at(102)), (64, 64));
        let mut growth = Growth::new(40);
        assert_eq!(run_requests(&mut growth, 400, 4096, |_| at(102)), (40, 40));
        let mut growth = Growth::new(8);
        assert_eq!(run_requests(&mut growth, 400, 4096, |_| at(102)), (8, 8));
    }

    #[test]
    fn requests_that_share_the_link_stay_as_many_as_at_first() {
        let mut growth = Growth::new(MAX);
        let (_, limit) = run_requests(&mut growth, 400, 65_536, |running| at(25) * u32::try_from(running).unwrap());
        assert!(limit <= 24, "{limit}");
    }

    #[test]
    fn requests_that_take_no_time_stay_as_many_as_at_first() {
        let mut growth = Growth::new(MAX);
        assert_eq!(run_requests(&mut growth, 4000, 4096, |_| at(2)), (16, 16));
    }

    #[test]
    fn there_are_fewer_requests_again_if_a_queue_builds_up() {
        let mut growth = Growth::new(MAX);
        run_requests(&mut growth, 400, 4096, |_| at(102));
        assert_eq!(growth.limit(), 64);
        (growth.calm_first_byte, growth.recent) = (at(30), Requests::default());
        run_requests(&mut growth, 70, 4096, |_| at(102));
        assert_eq!(growth.limit(), 32);
    }

    /// Receives a large file for a time, over as many connections as permitted, at this many bytes per millisecond for
    /// so many.
    fn run_bytes(growth: &mut Growth, state: &mut (Instant, u64), time: u64, speed: impl Fn(usize) -> u64) -> usize {
        let mut most = 0;
        for _ in 0..time {
            let (now, received) = state;
            let connections = growth.segment_limit().clamp(1, MAX);
            (*now, *received) = (*now + at(1), *received + speed(connections));
            let traffic =
                TrafficSnapshot { received: *received, responses: 1_000_000, first_byte: at(10), connect: at(10) };
            growth.tick(*now, traffic, connections, Wants::Segments(Duration::from_secs(60)), true);
            most = most.max(connections);
        }
        most
    }

    #[test]
    fn a_file_gets_more_connections_only_while_they_bring_more() {
        for (speed, width) in [
            ((|_| 1000) as fn(usize) -> u64, 0),
            (|connections| 1000 * connections as u64, MAX),
            (|connections| 1000 * connections.min(4) as u64, 4),
        ] {
            let (mut growth, mut state) = (Growth::new(MAX), (Instant::now(), 0));
            run_bytes(&mut growth, &mut state, 5000, speed);
            let is_as_expected = growth.width() == width || (width == 4 && (4..=8).contains(&growth.width()));
            assert!(is_as_expected, "{} instead of {width}", growth.width());
        }
    }

    #[test]
    fn no_trial_begins_while_the_speed_grows_of_itself() {
        let (mut growth, mut state) = (Growth::new(MAX), (Instant::now(), 0));
        let mut speed = 1000.0;
        for _ in 0..100 {
            speed *= 1.1;
            assert_eq!(run_bytes(&mut growth, &mut state, 25, |_| speed as u64), 1);
        }
        assert!(run_bytes(&mut growth, &mut state, 500, |_| speed as u64) > 1);
    }

    #[test]
    fn more_than_sixteen_are_tried_once_it_is_calm() {
        let fits_and_starts = |time: u64| move |_: usize| if (time / 75).is_multiple_of(2) { 1000 } else { 700 };
        let (mut growth, mut state) = (Growth::new(MAX), (Instant::now(), 0));
        growth.prove(START);
        for time in 0..600 {
            assert_eq!(run_bytes(&mut growth, &mut state, 1, fits_and_starts(time)), START, "after {time} ms");
        }
        assert!(run_bytes(&mut growth, &mut state, 200, |_| 900) > START);
    }

    #[test]
    fn a_trial_begins_at_once_if_the_speed_falls_after_one_that_failed() {
        let (mut growth, mut state) = (Growth::new(MAX), (Instant::now(), 0));
        run_bytes(&mut growth, &mut state, 1000, |_| 1000);
        assert_eq!(growth.width(), 0);
        assert_eq!(run_bytes(&mut growth, &mut state, 3000, |_| 1000), 1, "not again for a while");
        let stalls = |connections| if connections == 1 { 0 } else { 1000 };
        assert!(run_bytes(&mut growth, &mut state, 500, stalls) > 1);
        assert!(growth.width() > 1);
    }
}
