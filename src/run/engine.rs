//! The two ways through a plan: threads around one queue, and a plain loop. Both run the same transfers.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::context::{Context, Worker};
use super::event::Event;
use super::outcome::{Ending, Outcome, Skip};
use super::queue::{Next, Queue};
use super::retry::LONGEST_WISH;
use super::transfer::{Transfer, Turn, cancelled, download_file};
use crate::error::{Failure, HoldBack};
use crate::http::Clients;
use crate::options::Limits;
use crate::plan::{Download, Plan};

/// Whoever waits for a time looks this often whether the run was cancelled.
const CANCEL_SEEN_WITHIN: Duration = Duration::from_millis(100);

/// One download after another, in the caller's thread.
pub fn sequential(context: &Context<'_>, clients: &Clients) {
    let mut worker = Worker::new(clients.of_thread(0));
    let mut is_closed = false;
    let mut held: HashMap<String, Instant> = HashMap::new();
    for download in context.plan.downloads() {
        let ending = if is_closed || context.control.is_cancelled() {
            never_begun(context)
        } else {
            if let Some(until) = held.remove(&download.url.host()) {
                sleep(until.saturating_duration_since(Instant::now()), context);
            }
            to_its_end(download, context, &mut worker)
        };
        if let Outcome::Failed(failure) = &ending.outcome {
            // What was not waited for in the end still is what the server wants.
            if let Some(HoldBack { host, wait }) = failure.hold_back().filter(|hold| hold.wait <= LONGEST_WISH) {
                held.insert(host.clone(), Instant::now() + *wait);
            }
        }
        is_closed |= closes(&ending, context.limits);
        conclude(download, &ending, context);
    }
}

/// One download, with all its retries and the waits between them.
pub fn to_its_end(download: &Download, context: &Context<'_>, worker: &mut Worker<'_>) -> Ending {
    let mut transfer = Transfer::new(download);
    loop {
        match turn(transfer, context, worker) {
            Turn::Ended(ending) => return ending,
            Turn::Wait { transfer: again, wait, .. } => {
                sleep(wait, context);
                transfer = again;
            }
        }
    }
}

/// Downloads side by side in `threads` threads, each taking the next when it is done. All are joined.
pub fn concurrent(context: &Context<'_>, clients: &Clients, threads: usize) {
    let (hosts, host_of) = hosts(context.plan);
    let queue = Queue::new(host_of, context.limits.per_host);
    let shared = Mutex::new(Shared { queue, idle: 0, has_clock: false });
    let pool = &Pool { context, hosts, shared, changed: Condvar::new(), clock: Condvar::new() };
    thread::scope(|scope| {
        for number in 0..threads {
            let work = move || pool.work(Worker::new(clients.of_thread(number)));
            let spawned = thread::Builder::new().name(format!("tdl-{number}")).spawn_scoped(scope, work);
            if let Err(error) = spawned {
                let warning = format!("only {number} of {threads} threads could be started: {error}");
                context.reporter.event(&Event::Warning(&warning));
                if number == 0 {
                    pool.work(Worker::new(clients.of_thread(0)));
                }
                break;
            }
        }
    });
}

/// What the threads of a run share, behind one lock.
struct Pool<'a> {
    context: &'a Context<'a>,
    /// The queue's number of each host.
    hosts: HashMap<String, u32>,
    shared: Mutex<Shared<'a>>,
    /// Idle threads wait here until something may start.
    changed: Condvar,
    /// One idle thread waits here, for the time at which something may start.
    clock: Condvar,
}

struct Shared<'a> {
    queue: Queue<Transfer<'a>>,
    /// Threads that wait on `changed`.
    idle: usize,
    /// Whether a thread waits on `clock`.
    has_clock: bool,
}

impl<'a> Pool<'a> {
    /// Starts downloads until none is left.
    fn work(&self, mut worker: Worker<'_>) {
        while let Some((id, transfer)) = self.next() {
            let download = &self.context.plan.downloads()[id];
            let transfer = transfer.unwrap_or_else(|| Transfer::new(download));
            match turn(transfer, self.context, &mut worker) {
                Turn::Ended(ending) => {
                    let left = self.end(id, &ending);
                    conclude(download, &ending, self.context);
                    for id in left {
                        conclude(&self.context.plan.downloads()[id], &never_begun(self.context), self.context);
                    }
                }
                Turn::Wait { transfer, wait, failure } => self.put_back(id, wait, &failure, transfer),
            }
        }
    }

    /// Blocks until a download may start or be gone on with; `None` when nothing is left.
    ///
    /// A thread waits idly only while nothing may start and nothing waits for a time that another thread does not
    /// watch. A download that ends makes room for one other, which the thread that ended it takes when it comes here
    /// next: so nobody is woken for it. Whatever else lets something start wakes one thread, which wakes the next if
    /// there is more.
    fn next(&self) -> Option<(usize, Option<Transfer<'a>>)> {
        let mut shared = self.lock();
        loop {
            let now = Instant::now();
            shared = match shared.queue.next(now) {
                Next::Start(id, transfer) => {
                    if shared.idle > 0 && (shared.queue.is_ready() || (shared.queue.has_waits() && !shared.has_clock)) {
                        self.changed.notify_one();
                    }
                    return Some((id, transfer));
                }
                Next::Done => {
                    self.changed.notify_all();
                    self.clock.notify_all();
                    return None;
                }
                Next::Wait(Some(until)) if !shared.has_clock => {
                    if self.context.control.is_cancelled() {
                        shared.queue.end_all_waits();
                        continue;
                    }
                    shared.has_clock = true;
                    let wait = until.saturating_duration_since(now).min(CANCEL_SEEN_WITHIN);
                    let (mut shared, _) = self.clock.wait_timeout(shared, wait).unwrap_or_else(PoisonError::into_inner);
                    shared.has_clock = false;
                    shared
                }
                Next::Wait(_) => {
                    shared.idle += 1;
                    let mut shared = self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner);
                    shared.idle -= 1;
                    shared
                }
            };
        }
    }

    /// Takes an ended download out of the queue, and what is not to begin after it: that is handed out.
    fn end(&self, id: usize, ending: &Ending) -> Vec<usize> {
        let queue = &mut self.lock().queue;
        match &ending.outcome {
            Outcome::Failed(failure) if failure.is_refusal() => {
                queue.refused(id);
                self.hold_back(queue, id, failure);
            }
            // The host bore the request, whatever it said.
            Outcome::Fetched(_)
            | Outcome::Skipped(Skip::Unchanged)
            | Outcome::Failed(Failure::Status { .. } | Failure::Range(_))
                if queue.answered(id) =>
            {
                self.changed.notify_one();
            }
            _ => {}
        }
        let is_last = closes(ending, self.context.limits) || self.context.control.is_cancelled();
        let left = if is_last { queue.close() } else { Vec::new() };
        queue.end(id);
        left
    }

    fn put_back(&self, id: usize, wait: Duration, failure: &Failure, transfer: Transfer<'a>) {
        let now = Instant::now();
        let queue = &mut self.lock().queue;
        if failure.is_refusal() {
            queue.refused(id);
        }
        self.hold_back(queue, id, failure);
        queue.put_back(id, now + wait, transfer);
        // The thread that watches the clock may have an earlier time to watch for now; where none does, this one will.
        self.clock.notify_one();
    }

    /// Holds back the host of a download, and that of the redirect that said so. A wish that nobody waits for holds
    /// back no other download either: each is asked, and told so.
    fn hold_back(&self, queue: &mut Queue<Transfer<'a>>, id: usize, failure: &Failure) {
        if let Some(HoldBack { host, wait }) = failure.hold_back().filter(|hold| hold.wait <= LONGEST_WISH) {
            let until = Instant::now() + *wait;
            queue.hold_host_of(id, until);
            if let Some(host) = self.hosts.get(host) {
                queue.hold(*host, until);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared<'a>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One turn of a download. A panic in it is that download's failure.
fn turn<'a>(transfer: Transfer<'a>, context: &Context<'_>, worker: &mut Worker<'_>) -> Turn<'a> {
    catch_unwind(AssertUnwindSafe(|| download_file(transfer, context, worker))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned());
        Turn::Ended(Ending { outcome: Outcome::Failed(Failure::Panicked(text)), ..never_begun(context) })
    })
}

/// Counts and reports an end. A reporter that panics at it is not the run's concern.
fn conclude(download: &Download, ending: &Ending, context: &Context<'_>) {
    context.control.count(&download.url, ending);
    let report = || context.reporter.event(&Event::Ended(download, ending));
    let _ = catch_unwind(AssertUnwindSafe(report));
}

/// Whether nothing new is to begin after this end: a full disk leaves room for nothing, and the user may want it so.
fn closes(ending: &Ending, limits: &Limits) -> bool {
    let Outcome::Failed(failure) = &ending.outcome else { return false };
    failure.is_full_disk() || (limits.fail_fast && !failure.is_temporary())
}

fn never_begun(context: &Context<'_>) -> Ending {
    Ending { outcome: cancelled(context), attempts: 0, arrived: 0, own_time: Duration::ZERO }
}

fn sleep(wait: Duration, context: &Context<'_>) {
    let begun = Instant::now();
    while !context.control.is_cancelled() {
        let left = wait.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(CANCEL_SEEN_WITHIN));
    }
}

/// A number for each host, from 0, and that of each download's.
fn hosts(plan: &Plan) -> (HashMap<String, u32>, Vec<u32>) {
    let mut numbers = HashMap::new();
    let mut number = |download: &Download| {
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        *numbers.entry(download.url.host()).or_insert(next)
    };
    let host_of = plan.downloads().iter().map(&mut number).collect();
    (numbers, host_of)
}
