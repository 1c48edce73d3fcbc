//! Implements [`Work`] for the downloads of a run.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::pool::{PermitsSegment, Work, run_pool};
use super::queue::{Queue, SegmentKind};
use super::sequential::run_sequentially;
use crate::error::Error;
use crate::http::{Timing, Traffic, TrafficSnapshot};
use crate::plan::Plan;
use crate::run::event::Event;
use crate::run::finish::{not_started, report_finished, stops_run};
use crate::run::outcome::Finished;
use crate::run::session::{Session, Worker};
use crate::run::split::SegmentTask;
use crate::run::step::{Step, panic_message, report_retry, step};
use crate::run::transfer::Transfer;
use crate::url::WebUrl;

/// Runs the downloads on threads: as many as there are downloads, up to the limit. Waits for all of them.
pub fn run_concurrently(session: &Session<'_>) {
    let (hosts, host_of) = number_hosts(session.plan);
    let queue = Queue::new(host_of, hosts.len(), session.limits.per_host.get());
    let is_stopped = || session.is_stopped();
    let traffic: Vec<Traffic> = hosts.values().map(|_| Traffic::default()).collect();
    let downloads = Downloads { session, hosts, traffic: &traffic, is_stopped: &is_stopped };
    let warn = |warning: &str| session.emit(&Event::Warning(warning));
    let budget = session.budget;
    if run_pool(&downloads, queue, budget.threads, budget.max_threads, warn).is_err() {
        // The system has no threads left.
        run_sequentially(session);
    }
}

/// Gives the host of every source a number, counted from 0. Also returns that of each download's first source.
fn number_hosts(plan: &Plan) -> (HashMap<String, u32>, Vec<u32>) {
    let mut numbers = HashMap::new();
    let mut host_of = Vec::with_capacity(plan.len());
    let mut last: Option<(&WebUrl, u32)> = None;
    for download in plan.downloads() {
        for (index, source) in download.sources().iter().enumerate() {
            // Most lists name the same host many times in a row.
            let number = match last.filter(|(url, _)| url.has_same_host_and_port(&source.url)) {
                Some((_, number)) => number,
                None => {
                    let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                    *numbers.entry(source.url.host_and_port()).or_insert(next)
                }
            };
            last = Some((&source.url, number));
            if index == 0 {
                host_of.push(number);
            }
        }
    }
    (numbers, host_of)
}

struct Downloads<'s, 'a> {
    session: &'s Session<'a>,
    /// The number of each host, by its name and port.
    hosts: HashMap<String, u32>,
    /// What has arrived from each host.
    traffic: &'s [Traffic],
    is_stopped: &'s (dyn Fn() -> bool + Sync),
}

impl<'s> Work for Downloads<'s, '_> {
    type Transfer = Transfer<'s>;
    type Segment = SegmentTask;
    type Worker = Worker<'s>;

    fn worker(&self, thread: usize) -> Worker<'s> {
        self.session.stats.count_thread();
        Worker::new(self.session.clients.for_thread(thread, self.is_stopped))
    }

    fn attempt(&self, id: usize, kept: Option<Transfer<'s>>, worker: &mut Worker<'s>) -> Step<Transfer<'s>> {
        let transfer = kept.unwrap_or_else(|| Transfer::new(&self.session.plan[id]));
        worker.client.count_in(Some(&self.traffic[self.host_of(&transfer) as usize]));
        worker.timing = None;
        step(transfer, self.session, worker)
    }

    fn report_retry(&self, transfer: &Transfer<'s>, failure: &Error, wait: Duration) {
        report_retry(transfer, failure, wait, self.session);
    }

    fn report_hold(&self, number: u32, wait: Option<Duration>) {
        if let Some((host, _)) = self.hosts.iter().find(|(_, known)| **known == number) {
            self.session.emit(&match wait {
                Some(wait) => Event::Held(host, wait),
                None => Event::Released(host),
            });
        }
    }

    fn report_late(&self, id: usize) {
        self.session.emit(&Event::WaitingForPermit(&self.session.plan[id]));
    }

    fn host_of(&self, transfer: &Transfer<'s>) -> u32 {
        self.hosts[&transfer.source().url.host_and_port()]
    }

    fn host_number(&self, host: &str) -> Option<u32> {
        self.hosts.get(host).copied()
    }

    fn timing(&self, worker: &Worker<'s>) -> Option<Timing> {
        worker.timing
    }

    fn traffic(&self, host: u32) -> TrafficSnapshot {
        self.traffic[host as usize].snapshot()
    }

    fn wants_segment(&self, permits: PermitsSegment<'_>) -> bool {
        self.session.splits.as_ref().is_some_and(|registry| registry.slowest(permits).is_some())
    }

    fn take_segment(&self, permits: PermitsSegment<'_>) -> Option<(usize, SegmentTask)> {
        let (download, kind) = self.session.splits.as_ref()?.slowest(permits)?;
        let task = SegmentTask::take(download, kind == SegmentKind::Trial)?;
        Some((task.id(), task))
    }

    fn fetch_segment(&self, task: &SegmentTask, worker: &mut Worker<'s>) -> Result<bool, Error> {
        let host = self.host_number(&task.source().url.host_and_port());
        worker.client.count_in(host.map(|host| &self.traffic[host as usize]));
        let result = catch_unwind(AssertUnwindSafe(|| task.run(self.session, worker)));
        let result = result.unwrap_or_else(|panic| Err(Error::Panicked(panic_message(&*panic))));
        result.inspect_err(|failure| {
            self.session.emit(&Event::SegmentFailed(&self.session.plan[task.id()], failure));
        })
    }

    fn give_back_segment(&self, task: SegmentTask, result: Result<(), Error>) {
        task.give_back(result);
    }

    fn report(&self, id: usize, finished: &Finished) {
        report_finished(&self.session.plan[id], finished, self.session);
    }

    fn report_not_started(&self, id: usize) {
        self.report(id, &not_started(self.session));
    }

    fn stops_run(&self, finished: &Finished) -> bool {
        stops_run(finished, self.session)
    }

    fn is_stopped(&self) -> bool {
        self.session.is_stopped()
    }

    fn close_idle_connections(&self) {
        self.session.clients.close_idle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Entry;

    #[test]
    fn every_host_has_one_number_and_downloads_have_that_of_their_first_source() {
        let url = |url: &str| WebUrl::parse(url).unwrap();
        let entry = Entry::from(url("http://b/x")).with_mirror(url("http://c/x"));
        let plan = Plan::new([Entry::from(url("http://a/x")), entry, url("http://a/y").into()], |_| false);
        let (numbers, host_of) = number_hosts(&plan);
        let mut hosts: Vec<_> = numbers.iter().map(|(host, number)| (host.as_str(), *number)).collect();
        hosts.sort_unstable();
        assert_eq!((hosts, host_of), (vec![("a:80", 0), ("b:80", 1), ("c:80", 2)], vec![0, 1, 0]));
    }
}
