//! Implements [`Work`] for the downloads of a run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::hosts::Hosts;
use super::permit::SegmentKind;
use super::pool::run_pool;
use super::queue::Queue;
use super::sequential::run_sequentially;
use super::work::{PermitsSegment, Work};
use crate::error::Error;
use crate::http::{Timing, TrafficSnapshot};
use crate::run::event::Event;
use crate::run::finish::{not_started, report_finished, stops_run};
use crate::run::growth::{Addition, next_addition};
use crate::run::outcome::Finished;
use crate::run::session::{Session, Worker};
use crate::run::split::SegmentTask;
use crate::run::step::{Step, panic_message, report_retry, step};
use crate::run::transfer::Transfer;

/// Runs the downloads on threads: as many as there are downloads, up to the limit. Waits for all of them.
pub fn run_concurrently(session: &Session<'_>) {
    let (hosts, host_of) = Hosts::of_plan(session.plan);
    let queue = Queue::new(host_of, hosts.len(), session.limits.per_host.get());
    let queue = if session.list.is_some() { queue.growing() } else { queue };
    let is_stopped = || session.is_stopped();
    let downloads = Downloads { session, hosts: &hosts, is_stopped: &is_stopped };
    let warn = |warning: &str| session.emit(&Event::Warning(warning));
    let budget = session.budget;
    if run_pool(&downloads, queue, budget.threads, budget.max_threads, warn).is_err() {
        // The system has no threads left.
        run_sequentially(session);
    }
}

struct Downloads<'s, 'a> {
    session: &'s Session<'a>,
    hosts: &'s Hosts,
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
        worker.client.count_in(Some(self.hosts.traffic(self.host_of(&transfer))));
        worker.timing = None;
        step(transfer, self.session, worker)
    }

    fn report_retry(&self, transfer: &Transfer<'s>, failure: &Error, wait: Duration) {
        report_retry(transfer, failure, wait, self.session);
    }

    fn report_hold(&self, number: u32, wait: Option<Duration>) {
        if let Some(host) = self.hosts.name(number) {
            self.session.emit(&match wait {
                Some(wait) => Event::Held(&host, wait),
                None => Event::Released(&host),
            });
        }
    }

    fn report_late(&self, id: usize) {
        self.session.emit(&Event::WaitingForPermit(&self.session.plan[id]));
    }

    fn host_of(&self, transfer: &Transfer<'s>) -> u32 {
        // Every source's host has a number.
        self.hosts.find(&transfer.source().url.host_and_port()).unwrap_or_default()
    }

    fn host_number(&self, host: &str) -> Option<u32> {
        self.hosts.find(host)
    }

    fn timing(&self, worker: &Worker<'s>) -> Option<Timing> {
        worker.timing
    }

    fn traffic(&self, host: u32) -> TrafficSnapshot {
        self.hosts.snapshot(host)
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
        worker.client.count_in(host.map(|host| self.hosts.traffic(host)));
        let result = catch_unwind(AssertUnwindSafe(|| task.run(self.session, worker)));
        let result = result.unwrap_or_else(|panic| Err(Error::Panicked(panic_message(&*panic))));
        result.inspect_err(|failure| {
            self.session.emit(&Event::SegmentFailed(&self.session.plan[task.id()], failure));
        })
    }

    fn give_back_segment(&self, task: SegmentTask, result: Result<(), Error>) {
        task.give_back(result);
    }

    fn next_addition(&self, is_closed: &dyn Fn() -> bool) -> Addition<usize> {
        match next_addition(self.session, is_closed) {
            Addition::Download(download) => Addition::Download(download.id()),
            Addition::StopsRun => Addition::StopsRun,
            Addition::End => Addition::End,
        }
    }

    fn number_hosts(&self, id: usize) -> (u32, usize) {
        (self.hosts.add(&self.session.plan[id]), self.hosts.len())
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
