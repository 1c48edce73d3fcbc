//! One run over a modelled link, in virtual time: the real queue, limiter and segments, without threads.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::link::{Flow, Link, Network};
use crate::http::{Timing, TrafficSnapshot};
use crate::part::{Demand, Ranges, SegmentId, SegmentStep, Segments};
use crate::run::schedule::limiter::{Limiter, Served};
use crate::run::schedule::permit::{Fate, Feedback, Next, Permit, SegmentKind};
use crate::run::schedule::queue::Queue;
use crate::run::split::SplitBackoff;

/// A body up to this length is received in one request.
const MAX_SMALL_BODY: u64 = 64 * 1024;

/// How often the pool looks at its downloads.
const TICK: f64 = 0.025;

/// The default of `--jobs` and of `--per-host`.
const MAX: usize = 64;

/// What a run took.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub seconds: f64,
    /// Bytes that were received twice or thrown away.
    pub wasted: f64,
    pub requests: usize,
    pub refused: usize,
}

/// A run in progress.
pub struct Simulation {
    start: Instant,
    now: f64,
    network: Network,
    queue: Queue<()>,
    lengths: Vec<u64>,
    splits: bool,
    files: BTreeMap<usize, File>,
    requests: BTreeMap<usize, Request>,
    next_request: usize,
    traffic: TrafficSnapshot,
    run: Run,
}

/// A running download that may be split.
struct File {
    segments: Segments,
    backoff: SplitBackoff,
    latency: Duration,
    /// Its own permit, while its thread waits for other threads.
    idle: Option<Permit>,
}

/// A request in flight.
struct Request {
    flow: Flow,
    download: usize,
    /// The first byte that was requested.
    from: u64,
    /// The permit, unless it is that of the download.
    permit: Permit,
    is_helper: bool,
    segment: Option<SegmentId>,
    carried: f64,
    has_head: bool,
}

impl Simulation {
    /// `fixed` is a number of requests at once instead of the limiter's.
    pub fn new(link: Link, lengths: &[u64], fixed: Option<usize>, splits: bool) -> Self {
        let mut queue = Queue::new(vec![0; lengths.len()], 1, MAX);
        if let Some(count) = fixed {
            queue.set_limiter(0, Limiter::fixed(count));
        }
        Self {
            start: Instant::now(),
            now: 0.0,
            network: Network::new(link),
            queue,
            lengths: lengths.to_vec(),
            splits,
            files: BTreeMap::new(),
            requests: BTreeMap::new(),
            next_request: 0,
            traffic: TrafficSnapshot::default(),
            run: Run { seconds: 0.0, wasted: 0.0, requests: 0, refused: 0 },
        }
    }

    pub fn run(mut self) -> Run {
        let step = (self.network.link.round_trip / 10.0).clamp(0.001, 0.05);
        let mut next_tick = 0.0;
        loop {
            if self.now >= next_tick {
                let traffic = self.traffic;
                self.queue.tick(self.instant(), |_| traffic);
                next_tick = self.now + TICK;
            }
            if !self.start_downloads() {
                break;
            }
            self.start_segments();
            let flows = self.requests.iter_mut().map(|(id, request)| (*id, &mut request.flow));
            self.network.advance(self.now, step, flows);
            self.now += step;
            self.receive();
            assert!(self.now < 10_000.0, "it never ends");
        }
        self.run.seconds = self.now;
        self.run
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.now)
    }

    /// Starts what may start. Returns whether something is left to do.
    fn start_downloads(&mut self) -> bool {
        loop {
            match self.queue.next(self.instant()) {
                Next::Start(permit, _) => {
                    let download = permit.id();
                    self.request(permit, download, (0, self.lengths[download]), false, None);
                }
                Next::Wait => return true,
                Next::Done => return false,
            }
        }
    }

    fn start_segments(&mut self) {
        if !self.splits || self.requests.len() >= MAX {
            return;
        }
        let now = self.instant();
        self.rest_own_threads();
        let demand = |file: &File, is_trial| Demand { round_trip: file.latency, is_trial };
        let mut wishes: Vec<(Duration, usize)> = self
            .files
            .iter()
            .filter(|(_, file)| file.backoff.allows_segment(now))
            .filter_map(|(id, file)| Some((file.segments.time_left(demand(file, false), now)?, *id)))
            .collect();
        wishes.sort_by(|a, b| b.cmp(a));
        for (time_left, id) in wishes {
            let Some(kind) = self.queue.permits_segment(id, time_left) else { continue };
            let Some(file) = self.files.get_mut(&id) else { continue };
            let demand = Demand { round_trip: file.latency, is_trial: kind == SegmentKind::Trial };
            let Some(segment) = file.segments.assign(demand, now) else { continue };
            let permit = self.queue.permit_segment(id, now);
            self.request_segment(permit, id, segment, true);
        }
    }

    /// Lets the threads of downloads whose own response has ended take further segments.
    fn rest_own_threads(&mut self) {
        let now = self.instant();
        let waiting: Vec<usize> =
            self.files.iter().filter(|(_, file)| file.idle.is_some()).map(|(id, _)| *id).collect();
        for id in waiting {
            let Some(file) = self.files.get_mut(&id) else { continue };
            if file.segments.is_complete() {
                if let Some(permit) = file.idle.take() {
                    self.files.remove(&id);
                    self.queue.finish(permit, now, Feedback::Served(None), Fate::Finished);
                }
                continue;
            }
            let demand = Demand { round_trip: file.latency, is_trial: false };
            if let Some(segment) = file.segments.assign(demand, now)
                && let Some(permit) = file.idle.take()
            {
                self.request_segment(permit, id, segment, false);
            }
        }
    }

    fn request_segment(&mut self, permit: Permit, id: usize, segment: SegmentId, is_helper: bool) {
        let now = self.instant();
        let Some(file) = self.files.get_mut(&id) else { return };
        file.backoff.requested(now);
        let (from, to) = file.segments.begin_request(segment);
        let length = to.unwrap_or(self.lengths[id]) - from;
        self.request(permit, id, (from, length), is_helper, Some(segment));
    }

    fn request(
        &mut self,
        permit: Permit,
        download: usize,
        (from, length): (u64, u64),
        is_helper: bool,
        segment: Option<SegmentId>,
    ) {
        let flow = self.network.request(self.now, length);
        self.run.requests += 1;
        let request = Request { flow, download, from, permit, is_helper, segment, carried: 0.0, has_head: false };
        self.requests.insert(self.next_request, request);
        self.next_request += 1;
    }

    /// Takes in what has arrived in this step.
    fn receive(&mut self) {
        for number in self.requests.keys().copied().collect::<Vec<_>>() {
            let Some(mut request) = self.requests.remove(&number) else { continue };
            let is_over = self.receive_one(&mut request);
            if is_over {
                self.end(request);
            } else {
                self.requests.insert(number, request);
            }
        }
    }

    /// Returns whether the request has ended.
    fn receive_one(&mut self, request: &mut Request) -> bool {
        let now = self.instant();
        let id = request.download;
        if let Some(segment) = request.segment
            && self.files.get(&id).is_none_or(|file| file.segments.is_over(segment))
        {
            return true;
        }
        let Some(head_at) = request.flow.head_at else { return false };
        if !request.has_head {
            request.has_head = true;
            let connect = request.flow.connect.map(Duration::from_secs_f64);
            let waited = Duration::from_secs_f64(head_at - request.flow.sent_at);
            self.traffic.responses += 1;
            self.traffic.first_byte = waited.saturating_sub(connect.unwrap_or_default());
            self.traffic.connect = connect.unwrap_or(self.traffic.connect);
            if request.flow.is_refused {
                return true;
            }
            if !self.accept(request, now) {
                return true;
            }
        }
        let arrived = request.flow.arrived + request.carried;
        let whole = if request.flow.left < 1.0 { arrived.round() } else { arrived.floor() };
        request.carried = arrived - whole;
        self.traffic.received += whole as u64;
        match request.segment.and_then(|segment| Some((segment, self.files.get_mut(&id)?))) {
            Some((segment, file)) => {
                self.run.wasted += write(&mut file.segments, segment, whole as u64, now);
                file.segments.is_over(segment) || request.flow.left < 1.0
            }
            None => request.flow.left < 1.0,
        }
    }

    /// The head of a response has arrived. Returns whether it is wanted.
    fn accept(&mut self, request: &mut Request, now: Instant) -> bool {
        let id = request.download;
        match (request.segment, self.files.get_mut(&id)) {
            (Some(segment), Some(file)) => {
                file.backoff.responded(true);
                let end = request.from + request.flow.left.round() as u64;
                file.segments.record_response(segment, request.from, Some(end), now)
            }
            (None, _) if self.lengths[id] > MAX_SMALL_BODY => {
                let length = self.lengths[id];
                let mut segments = Segments::default();
                segments.restart(Ranges::default(), Some(length));
                let Some(first) = segments.assign_free(now) else { return true };
                let _ = segments.begin_request(first);
                let is_wanted = segments.record_response(first, 0, Some(length), now);
                request.segment = Some(first);
                let latency = self.traffic.first_byte;
                let file = File { segments, backoff: SplitBackoff::default(), latency, idle: None };
                self.files.insert(id, file);
                is_wanted
            }
            _ => true,
        }
    }

    fn end(&mut self, request: Request) {
        let now = self.instant();
        self.run.wasted += self.network.end(&request.flow);
        let Request { flow, download, permit, is_helper, segment, .. } = request;
        if flow.is_refused {
            self.run.refused += 1;
            let at = now + Duration::from_millis(500);
            let fate = if is_helper { Fate::Segment } else { Fate::Retry { at, host: 0, kept: () } };
            if let (Some(segment), Some(file)) = (segment, self.files.get_mut(&download)) {
                file.backoff.responded(false);
                file.segments.unassign(segment, now);
            }
            self.queue.finish(permit, now, Feedback::Refused, fate);
            return;
        }
        let is_whole = !self.requests.values().any(|request| request.download == download);
        let timing = self.timing(&flow);
        let served = || Feedback::Served(Some(Served { timing, bytes: self.lengths[download] }));
        let file = self.files.get_mut(&download);
        let (Some(segment), Some(file)) = (segment, file) else {
            let (feedback, fate) =
                if is_helper { (Feedback::Served(None), Fate::Segment) } else { (served(), Fate::Finished) };
            self.queue.finish(permit, now, feedback, fate);
            return;
        };
        file.segments.unassign(segment, now);
        if is_helper {
            self.queue.finish(permit, now, Feedback::Served(None), Fate::Segment);
        } else if file.segments.is_complete() && is_whole {
            self.queue.finish(permit, now, served(), Fate::Finished);
            self.files.remove(&download);
        } else {
            file.idle = Some(permit);
        }
    }

    fn timing(&self, flow: &Flow) -> Timing {
        let connect = flow.connect.map(Duration::from_secs_f64);
        let waited = Duration::from_secs_f64(flow.head_at.unwrap_or(self.now) - flow.sent_at);
        Timing { connect, first_byte: waited.saturating_sub(connect.unwrap_or_default()) }
    }
}

/// Writes what has arrived for a segment. Returns how many of the bytes were not needed.
fn write(segments: &mut Segments, segment: SegmentId, mut count: u64, now: Instant) -> f64 {
    let mut wasted = 0;
    while count > 0 {
        match segments.reserve(segment, count, now) {
            SegmentStep::Write { count: written, .. } => {
                segments.finish_write(segment);
                count -= written;
            }
            SegmentStep::Skip(skipped) => {
                wasted += skipped;
                count -= skipped;
            }
            SegmentStep::Stop => {
                wasted += count;
                count = 0;
            }
        }
    }
    wasted as f64
}
