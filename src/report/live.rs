//! The run as it is now, as far as its events tell: for bars, and for lines of progress.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::options::Mode;
use crate::plan::{Download, Target};
use crate::run::{Event, Finished, Outcome, Progress, RunStats};
use crate::url::WebUrl;

/// Speeds are averages over this time.
const SPEED_TIME: Duration = Duration::from_secs(3);

/// A run in progress. It has its own counts, because those of `RunStats` may already include a download that is still in
/// `running`, and its bytes would be counted twice.
#[derive(Default)]
pub struct Live {
    pub mode: Mode,
    pub total: usize,
    /// Whether the list has not ended, so that there may be more.
    pub is_list_open: bool,
    /// Files that were fetched or are there already.
    pub done: usize,
    pub failed: usize,
    fetched: usize,
    /// Bytes of the fetched files.
    bytes: u64,
    /// Bytes received over the network for finished downloads.
    transferred: u64,
    /// The lengths that the list gives for downloads that have not started, and for how many it gives none.
    expected: u64,
    unknown: usize,
    /// In list order.
    pub running: Vec<Running>,
    /// Until when nothing is requested from a host.
    held: HashMap<String, Instant>,
    speed: Speed,
    stats: Option<Arc<RunStats>>,
}

/// A download that has started.
pub struct Running {
    id: usize,
    url: WebUrl,
    pub target: Target,
    pub progress: Arc<Progress>,
    /// When its last attempt began.
    pub since: Instant,
    /// What it waits for, between two attempts.
    pub wait: Option<Wait>,
    pub speed: Speed,
}

/// A wait for the next attempt.
#[derive(Debug, Clone)]
pub struct Wait {
    pub why: String,
    pub until: Instant,
    /// The number of the next attempt without progress, and how many there may be.
    pub attempt: (u32, u32),
}

/// What is known of the bytes of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amount {
    pub received: u64,
    /// The sum of all known lengths.
    pub total: u64,
    /// Whether there are no others.
    pub is_whole: bool,
}

/// How long the run will take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TimeLeft {
    About(Duration),
    /// Not everything is known that is to come.
    AtLeast(Duration),
}

/// Measures a speed over the last seconds.
#[derive(Debug, Default)]
pub struct Speed(VecDeque<(Instant, u64)>);

impl Speed {
    /// Records how many bytes there are now.
    pub fn record(&mut self, now: Instant, bytes: u64) {
        self.0.push_back((now, bytes));
        while self.0.len() > 2 && self.0.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= SPEED_TIME)
        {
            self.0.pop_front();
        }
    }

    /// Bytes per second; 0 if nothing is known.
    pub fn per_second(&self) -> f64 {
        let (Some((from, before)), Some((to, after))) = (self.0.front(), self.0.back()) else { return 0.0 };
        let time = to.saturating_duration_since(*from).as_secs_f64();
        if time > 0.0 { after.saturating_sub(*before) as f64 / time } else { 0.0 }
    }
}

impl Live {
    /// Takes account of an event.
    pub fn update(&mut self, event: &Event<'_>) {
        match event {
            Event::Planned { plan, mode, stats, is_list_open, .. } => {
                let lengths = || plan.downloads().map(|download| download.expected().length);
                *self = Self {
                    mode: *mode,
                    total: plan.len(),
                    is_list_open: *is_list_open,
                    expected: lengths().flatten().sum(),
                    unknown: lengths().filter(Option::is_none).count(),
                    stats: Some(Arc::clone(stats)),
                    ..Self::default()
                };
            }
            Event::Added(download) => {
                self.total += 1;
                match download.expected().length {
                    Some(length) => self.expected += length,
                    None => self.unknown += 1,
                }
            }
            Event::Invalid { .. } => {
                self.total += 1;
                self.failed += 1;
            }
            Event::ListEnded(_) => self.is_list_open = false,
            Event::Started(download, progress) => {
                self.leave_unstarted(download);
                let (id, target, progress) = (download.id(), download.target().clone(), Arc::clone(progress));
                let (since, speed) = (Instant::now(), Speed::default());
                let position = self.running.partition_point(|running| running.id < id);
                let url = download.url().clone();
                self.running.insert(position, Running { id, url, target, progress, since, wait: None, speed });
            }
            Event::Retrying { download, failure, wait, retry: (next, most), .. } => {
                if let Some(running) = self.find(download) {
                    let attempt = (next.saturating_add(1), most.saturating_add(1));
                    let (why, until) = (brief(failure), Instant::now() + *wait);
                    running.wait = Some(Wait { why, until, attempt });
                    running.speed = Speed::default();
                }
            }
            Event::Held(host, wait) => drop(self.held.insert((*host).to_owned(), Instant::now() + *wait)),
            Event::Released(host) => drop(self.held.remove(*host)),
            Event::TryingAgain(download) => {
                if let Some(running) = self.find(download) {
                    (running.wait, running.since) = (None, Instant::now());
                }
            }
            Event::Finished(download, finished) => self.finish(download, finished),
            _ => {}
        }
    }

    fn finish(&mut self, download: &Download, finished: &Finished) {
        match self.running.iter().position(|running| running.id == download.id()) {
            Some(position) => drop(self.running.remove(position)),
            None => self.leave_unstarted(download),
        }
        self.transferred += finished.transferred;
        match &finished.outcome {
            Outcome::Fetched(file) => {
                self.done += 1;
                self.fetched += 1;
                self.bytes += file.bytes;
            }
            Outcome::Skipped(_) => self.done += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Cancelled => {}
        }
    }

    fn find(&mut self, download: &Download) -> Option<&mut Running> {
        self.running.iter_mut().find(|running| running.id == download.id())
    }

    fn leave_unstarted(&mut self, download: &Download) {
        match download.expected().length {
            Some(length) => self.expected -= length.min(self.expected),
            None => self.unknown = self.unknown.saturating_sub(1),
        }
    }

    /// Measures the speeds.
    pub fn record_speeds(&mut self, now: Instant) {
        let mut transferred = self.transferred;
        for running in &mut self.running {
            let bytes = running.progress.transferred();
            transferred += bytes;
            if running.wait.is_none() {
                running.speed.record(now, bytes);
            }
        }
        self.speed.record(now, transferred);
    }

    /// The host that is held longest, and until when, if any is.
    pub fn longest_held(&self, now: Instant) -> Option<(&str, Instant)> {
        let held = self.held.iter().filter(|(_, until)| **until > now);
        held.max_by_key(|(_, until)| **until).map(|(host, until)| (host.as_str(), *until))
    }

    /// Until when a waiting download waits, for itself or with its host.
    pub fn waits_until(&self, running: &Running, wait: &Wait) -> Instant {
        let held = if self.held.is_empty() { None } else { self.held.get(&running.url.host_and_port()) };
        held.map_or(wait.until, |held| wait.until.max(*held))
    }

    pub fn speed(&self) -> f64 {
        self.speed.per_second()
    }

    /// The time since the run began.
    pub fn running_time(&self) -> Duration {
        self.stats.as_ref().map_or(Duration::ZERO, |stats| stats.elapsed())
    }

    /// How many downloads wait for their next attempt.
    pub fn waiting(&self) -> usize {
        self.running.iter().filter(|running| running.wait.is_some()).count()
    }

    pub fn amount(&self) -> Amount {
        let mut amount = Amount {
            received: self.bytes,
            total: self.bytes + self.expected,
            is_whole: self.unknown == 0 && !self.is_list_open,
        };
        for running in &self.running {
            let received = running.progress.received();
            let length = running.progress.length();
            amount.received += received;
            amount.total += length.unwrap_or(received).max(received);
            amount.is_whole &= length.is_some();
        }
        amount
    }

    /// Estimates the remaining time at the current speed. A download that has not started, and whose length is unknown,
    /// counts with the mean of those that are known. Before the list has ended, nothing can be said.
    pub fn time_left(&self, now: Instant) -> Option<TimeLeft> {
        if self.is_list_open {
            return None;
        }
        let Amount { received, total, is_whole } = self.amount();
        let known = self.fetched + self.running.iter().filter(|running| running.progress.length().is_some()).count();
        let speed = self.speed();
        if speed <= 0.0 || (known == 0 && self.unknown > 0) {
            return None;
        }
        let mean = (total - self.expected.min(total)) as f64 / known.max(1) as f64;
        let bytes = total.saturating_sub(received) as f64 + mean * self.unknown as f64;
        let seconds = Duration::try_from_secs_f64(bytes / speed).ok()?;
        let waits = self.running.iter().filter_map(|running| Some(self.waits_until(running, running.wait.as_ref()?)));
        let longest_wait = waits.map(|until| until.saturating_duration_since(now)).max().unwrap_or_default();
        let left = seconds.max(longest_wait);
        if is_whole || self.unknown > 0 {
            return Some(TimeLeft::About(left));
        }
        // That it takes no time at least is no news.
        (left >= Duration::from_secs(1)).then_some(TimeLeft::AtLeast(left))
    }
}

/// Says in a few words why an attempt failed. There is a line that says more.
fn brief(failure: &Error) -> String {
    failure.status().map_or_else(|| failure.to_string(), |status| status.to_string())
}

#[cfg(test)]
pub mod testing {
    use super::*;
    use crate::plan::SafeName;

    /// A run of so many files, of which so many are done.
    pub fn live(done: usize, total: usize, bytes: u64) -> Live {
        Live { total, done, fetched: done, bytes, ..Live::default() }
    }

    impl Live {
        /// Adds a running download that has so many bytes of so many, over so many connections, at so many per second.
        pub fn run(&mut self, name: &str, (received, length): (u64, Option<u64>), connections: u32, speed: u64) {
            let progress = Arc::new(Progress::of(received, length, connections));
            let now = Instant::now();
            let mut measured = Speed::default();
            measured.record(now, 0);
            measured.record(now + Duration::from_secs(1), speed);
            let target = SafeName::from_user(name).unwrap().into();
            let id = self.running.len();
            let url = WebUrl::parse("http://h/").unwrap();
            self.running.push(Running { id, url, target, progress, since: now, wait: None, speed: measured });
        }

        /// Lets the download that was added last wait.
        pub fn wait(&mut self, why: &str, until: Instant, attempt: (u32, u32)) {
            self.running.last_mut().unwrap().wait = Some(Wait { why: why.to_owned(), until, attempt });
        }

        /// Holds the host of all downloads.
        pub fn hold(&mut self, until: Instant) {
            self.held.insert("h:80".to_owned(), until);
        }

        /// Sets the speed of the run.
        pub fn set_speed(&mut self, speed: u64) {
            let now = Instant::now();
            self.speed = Speed::default();
            self.speed.record(now, 0);
            self.speed.record(now + Duration::from_secs(1), speed);
        }

        /// Says how many downloads have not started, whose lengths are not known.
        pub fn set_unknown(&mut self, unknown: usize) {
            self.unknown = unknown;
        }
    }
}
