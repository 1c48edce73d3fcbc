//! A model of a link and of the server behind it: fluid flows in steps of virtual time.

use std::collections::VecDeque;

/// The segments that a server may send at once on a new connection (RFC 6928): 10 of 1,448 bytes.
const INITIAL_WINDOW: f64 = 14_480.0;

/// A link, and the server behind it. Times are in seconds, rates in bytes per second.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    pub round_trip: f64,
    pub rate: f64,
    /// How long a byte waits in the full queue before the link.
    pub queue: f64,
    /// What one connection gets at most: a limit of the server, or of the sender's congestion control on a lossy link.
    pub per_connection: f64,
    pub server: Server,
}

/// How a server treats requests.
#[derive(Debug, Clone, Copy)]
pub enum Server {
    /// Each response begins after this time.
    Delays(f64),
    /// It works on so many requests at once, each for this time; the others wait.
    ServesAtOnce(usize, f64),
    /// Refuses requests beyond so many, each of which takes this time before its response begins.
    RefusesAbove(usize, f64),
}

/// One connection with its current request.
#[derive(Debug)]
pub struct Flow {
    phase: Phase,
    /// What may be in flight, as TCP's congestion window.
    window: f64,
    /// What of it may be sent at once.
    credit: f64,
    /// What is left of the response, in bytes.
    pub left: f64,
    /// What has arrived in the last step.
    pub arrived: f64,
    /// The speed in the last step.
    rate: f64,
    /// How long it took to connect, if it had to.
    pub connect: Option<f64>,
    pub sent_at: f64,
    pub head_at: Option<f64>,
    pub is_refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// The request reaches the server then.
    Travelling(f64),
    /// Waits for the server to have time for it.
    Queued,
    /// The first byte reaches the client then.
    Responding(f64),
    Body,
}

/// The link with what is on it.
#[derive(Debug)]
pub struct Network {
    pub link: Link,
    /// Bytes in the queue before the link.
    queued: f64,
    /// The windows of idle connections.
    idle: Vec<f64>,
    working: usize,
    waiting: VecDeque<usize>,
}

impl Network {
    pub fn new(link: Link) -> Self {
        Self { link, queued: 0.0, idle: Vec::new(), working: 0, waiting: VecDeque::new() }
    }

    /// Sends a request for a response of `length` bytes.
    pub fn request(&mut self, now: f64, length: u64) -> Flow {
        let trip = self.link.round_trip + self.queued / self.link.rate;
        let warm = self.idle.pop();
        let connect = warm.is_none().then_some(trip);
        let arrives = now + connect.unwrap_or(0.0) + trip / 2.0;
        Flow {
            phase: Phase::Travelling(arrives),
            window: warm.unwrap_or(INITIAL_WINDOW),
            credit: warm.unwrap_or(INITIAL_WINDOW),
            left: length as f64,
            arrived: 0.0,
            rate: 0.0,
            connect,
            sent_at: now,
            head_at: None,
            is_refused: false,
        }
    }

    /// Ends a flow. If its response has not ended, the connection is closed. Returns how many bytes are on their way in
    /// vain.
    pub fn end(&mut self, flow: &Flow) -> f64 {
        if flow.phase == Phase::Queued || matches!(flow.phase, Phase::Responding(_)) {
            self.working = self.working.saturating_sub(usize::from(flow.phase != Phase::Queued));
        }
        if flow.left < 1.0 {
            self.idle.push(flow.window);
            return 0.0;
        }
        (flow.rate * (self.link.round_trip + self.queued / self.link.rate)).min(flow.left)
    }

    /// Lets time pass, from `now` for `step`.
    pub fn advance<'f>(&mut self, now: f64, step: f64, flows: impl Iterator<Item = (usize, &'f mut Flow)>) {
        let mut flows: Vec<(usize, &mut Flow)> = flows.collect();
        for (id, flow) in &mut flows {
            flow.arrived = 0.0;
            match flow.phase {
                Phase::Travelling(at) if at <= now => self.reach_server(*id, flow, now),
                Phase::Responding(at) if at <= now => {
                    flow.phase = Phase::Body;
                    flow.head_at = Some(now);
                    self.working = self.working.saturating_sub(1);
                    if flow.is_refused {
                        flow.left = 0.0;
                    }
                }
                _ => {}
            }
        }
        self.serve_waiting(now, &mut flows);
        self.transfer(step, &mut flows);
    }

    fn reach_server(&mut self, id: usize, flow: &mut Flow, now: f64) {
        let back = self.link.round_trip / 2.0 + self.queued / self.link.rate;
        let (is_busy, time) = match self.link.server {
            Server::Delays(delay) => (false, delay),
            Server::ServesAtOnce(count, time) => (self.working >= count, time),
            Server::RefusesAbove(count, time) => {
                flow.is_refused = self.working >= count;
                (false, if flow.is_refused { 0.0 } else { time })
            }
        };
        flow.phase = if is_busy { Phase::Queued } else { Phase::Responding(now + time + back) };
        if is_busy {
            self.waiting.push_back(id);
        } else {
            self.working += 1;
        }
    }

    fn serve_waiting(&mut self, now: f64, flows: &mut [(usize, &mut Flow)]) {
        let Server::ServesAtOnce(count, time) = self.link.server else { return };
        while self.working < count {
            let Some(id) = self.waiting.pop_front() else { return };
            if let Some((_, flow)) = flows.iter_mut().find(|(other, flow)| *other == id && flow.phase == Phase::Queued)
            {
                self.working += 1;
                flow.phase = Phase::Responding(now + time + self.link.round_trip / 2.0);
            }
        }
    }

    /// Shares the link among the bodies: each gets what its window allows, or an equal share.
    fn transfer(&mut self, step: f64, flows: &mut [(usize, &mut Flow)]) {
        let trip = self.link.round_trip + self.queued / self.link.rate;
        let mut bodies: Vec<&mut Flow> =
            flows.iter_mut().filter(|(_, flow)| flow.phase == Phase::Body).map(|(_, flow)| &mut **flow).collect();
        for flow in &mut bodies {
            flow.credit = (flow.credit + flow.window / trip * step).min(flow.window);
        }
        let wish = |flow: &Flow| (flow.credit / step).min(self.link.per_connection).min(flow.left / step);
        // What is in flight beyond what the link itself holds waits in the queue.
        let in_flight: f64 = bodies.iter().map(|flow| flow.window.min(flow.left)).sum();
        let most = self.link.queue * self.link.rate;
        self.queued = (in_flight - self.link.rate * self.link.round_trip).clamp(0.0, most);
        bodies.sort_by(|a, b| wish(a).total_cmp(&wish(b)));
        let fair = self.link.rate / bodies.len().max(1) as f64;
        let (mut free, mut count) = (self.link.rate, bodies.len());
        for flow in bodies {
            let rate = wish(flow).min(free / count as f64);
            (free, count) = (free - rate, count - 1);
            flow.rate = rate;
            flow.arrived = (rate * step).min(flow.left);
            flow.left -= flow.arrived;
            flow.credit -= flow.arrived;
            // A window grows by what is acknowledged. While the queue is full, packets are lost: of the flows with more
            // than their share.
            if self.queued < 0.9 * self.link.queue * self.link.rate || rate < 0.9 * fair {
                let most = (self.link.per_connection * trip).max(INITIAL_WINDOW);
                flow.window = (flow.window + flow.arrived).min(2.0 * most);
            } else {
                flow.window -= 0.5 * flow.arrived;
            }
        }
    }
}
