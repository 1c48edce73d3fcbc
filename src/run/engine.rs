//! Downloads side by side: threads around one queue, and the clock that wakes them.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::context::{Context, Worker};
use super::event::Event;
use super::help::{Help, Helpable};
use super::open_files::Affordable;
use super::outcome::{Finished, Outcome, Skip};
use super::pace::Era;
use super::queue::{Next, Queue};
use super::retry::MAX_RETRY_AFTER;
use super::sequential::sequential;
use super::transfer::{Transfer, Turn};
use super::turn::{closes, conclude, never_begun, tell, text_of, turn};
use crate::error::{Error, RetryAfter};
use crate::http::Clients;
use crate::plan::{Download, Plan};

/// Whoever waits for a time looks this often whether something else has come to pass: that the run was cancelled, or
/// that a download wants help.
const TICK: Duration = Duration::from_millis(100);

/// Downloads side by side in as many threads as can be had, each taking the next when it is done; in more, where these
/// can help. All are joined.
pub fn concurrent(context: &Context<'_>, clients: &Clients, affordable: Affordable) {
    let Affordable { jobs: threads, most, .. } = affordable;
    let (hosts, host_of) = hosts(context.plan);
    let queue = Queue::new(host_of, context.limits.per_host);
    let shared = Mutex::new(Shared { queue, threads: 0, most, busy: 0, idle: 0, is_over: false });
    let pool = &Pool { context, clients, hosts, shared, changed: Condvar::new(), clock: Condvar::new() };
    let is_cancelled = || context.control.is_cancelled();
    thread::scope(|scope| {
        let spawn = |number: usize| {
            let is_cancelled = &is_cancelled;
            let work = move || pool.work(Worker::new(clients.for_thread(number, is_cancelled)));
            thread::Builder::new().name(format!("tdl-{number}")).spawn_scoped(scope, work).map(drop)
        };
        for number in 0..threads {
            if let Err(error) = spawn(number) {
                let warning = format!("only {number} of {threads} threads could be started: {error}");
                context.reporter.event(&Event::Warning(&warning));
                break;
            }
            pool.lock().threads += 1;
        }
        if pool.lock().threads > 0 {
            pool.watch(spawn);
        } else {
            // There is no thread to share with.
            sequential(context, clients);
        }
    });
}

/// What the threads of a run share, behind one lock.
struct Pool<'a> {
    context: &'a Context<'a>,
    clients: &'a Clients,
    /// The queue's number of each host.
    hosts: HashMap<String, u32>,
    shared: Mutex<Shared<'a>>,
    /// Idle threads wait here until there is something for them.
    changed: Condvar,
    /// The caller's thread waits here, for time to pass.
    clock: Condvar,
}

struct Shared<'a> {
    queue: Queue<Transfer<'a>>,
    threads: usize,
    /// Threads that there may be.
    most: usize,
    /// Threads that have a download, or a part of one.
    busy: usize,
    /// Threads that wait on `changed`.
    idle: usize,
    /// Whether nothing is left to do.
    is_over: bool,
}

/// What a thread is given to do.
enum Work<'a> {
    Download(usize, Option<Transfer<'a>>),
    Help(Help, Era),
}

impl<'a> Pool<'a> {
    /// Carries out downloads, and helps with those of others, until nothing is left.
    fn work(&self, mut worker: Worker<'_>) {
        self.context.control.count_thread();
        while let Some(work) = self.next() {
            match work {
                Work::Download(id, transfer) => self.download(id, transfer, &mut worker),
                Work::Help(help, era) => self.help(help, era, &mut worker),
            }
        }
    }

    fn download(&self, id: usize, transfer: Option<Transfer<'a>>, worker: &mut Worker<'_>) {
        let download = &self.context.plan.downloads()[id];
        let transfer = transfer.unwrap_or_else(|| Transfer::new(download));
        match turn(transfer, self.context, worker) {
            Turn::Ended(finished) => {
                let left = self.end(id, &finished);
                conclude(download, &finished, self.context);
                for id in left {
                    conclude(&self.context.plan.downloads()[id], &never_begun(self.context), self.context);
                }
            }
            Turn::Wait { transfer, wait, failure } => self.put_back(id, wait, &failure, transfer),
        }
    }

    /// Gets a part of a download that another thread began; if that fails, it is the other's to get.
    fn help(&self, help: Help, era: Era, worker: &mut Worker<'_>) {
        let id = help.download.id;
        let result = catch_unwind(AssertUnwindSafe(|| help.carry_out(self.context, worker)));
        let result = result.unwrap_or_else(|panic| Err(Error::Panicked(text_of(&*panic))));
        if let Err(failure) = &result {
            tell(&Event::SegmentFailed(&self.context.plan.downloads()[id], failure), self.context);
        }
        {
            let shared = &mut *self.lock();
            match &result {
                Ok(()) => _ = shared.queue.answered(id),
                Err(failure) => {
                    if failure.is_throttled() {
                        shared.queue.help_refused(id, era);
                    }
                    self.hold_host(&mut shared.queue, id, failure);
                    self.spare_files(shared, failure);
                }
            }
            shared.queue.end_help(id);
            shared.busy -= 1;
        }
        help.end(result);
    }

    /// Blocks until there is something to do; `None` when nothing is left.
    ///
    /// A download that ends makes room for one other, which the thread that ended it takes when it comes here next: so
    /// nobody is woken for it. Whatever else lets something start wakes one thread, which wakes the next if there is
    /// more; the caller's thread does so where it is time that does.
    fn next(&self) -> Option<Work<'a>> {
        let mut shared = self.lock();
        loop {
            if shared.threads > shared.most && !shared.is_over {
                shared.threads -= 1;
                // What woke this thread is for another.
                self.changed.notify_one();
                return None;
            }
            let work = match shared.queue.next(Instant::now()) {
                Next::Start(id, transfer) => Some(Work::Download(id, transfer)),
                Next::Done => {
                    shared.is_over = true;
                    self.changed.notify_all();
                    self.clock.notify_all();
                    return None;
                }
                Next::Wait(_) => self.neediest(&shared).and_then(|helpable| helpable.take()).map(|help| {
                    let era = shared.queue.help(help.download.id);
                    // Whether there is more to help with, and who could, is for the caller's thread to see.
                    self.clock.notify_one();
                    Work::Help(help, era)
                }),
            };
            if work.is_some() {
                shared.busy += 1;
                if shared.idle > 0 && shared.queue.is_ready() {
                    self.changed.notify_one();
                }
                return work;
            }
            shared.idle += 1;
            shared = self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner);
            shared.idle -= 1;
        }
    }

    /// Wakes threads when time has let something start, or a running download wants help; starts more threads for help
    /// where none is idle. Returns when nothing is left to do.
    fn watch(&self, spawn: impl Fn(usize) -> io::Result<()>) {
        let mut shared = self.lock();
        while !shared.is_over {
            let now = Instant::now();
            if self.context.control.is_cancelled() {
                shared.queue.end_all_waits();
            }
            shared.queue.end_waits_until(now);
            let wants_help = self.neediest(&shared).is_some();
            if shared.idle > 0 && (wants_help || shared.queue.is_ready()) {
                self.changed.notify_one();
            } else if shared.idle == 0 && wants_help && shared.threads < shared.most {
                match spawn(shared.threads) {
                    Ok(()) => shared.threads += 1,
                    // Those that there are have to do.
                    Err(_) => shared.most = shared.threads,
                }
            }
            let wait = shared.queue.next_time().map_or(TICK, |until| until.saturating_duration_since(now).min(TICK));
            (shared, _) = self.clock.wait_timeout(shared, wait).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The running download that wants help most, if a thread and its host have room for that.
    fn neediest(&self, shared: &Shared<'a>) -> Option<Arc<Helpable>> {
        let board = self.context.board?;
        // What waits keeps half of the threads at most, or a host that is held back for long would stop all help.
        let reserved = shared.queue.reserved().min(shared.most / 2);
        let has_room = shared.busy + reserved < shared.most && !self.context.control.is_cancelled();
        if has_room { board.neediest(|id| shared.queue.may_help(id)) } else { None }
    }

    /// Takes an ended download out of the queue, and what is not to begin after it: that is handed out.
    fn end(&self, id: usize, finished: &Finished) -> Vec<usize> {
        let mut shared = self.lock();
        if let Outcome::Failed(failure) = &finished.outcome {
            self.spare_files(&mut shared, failure);
        }
        shared.busy -= 1;
        let queue = &mut shared.queue;
        match &finished.outcome {
            Outcome::Failed(failure) if failure.is_throttled() => {
                queue.refused(id);
                self.hold_host(queue, id, failure);
            }
            // The host bore the request, whatever it said.
            Outcome::Fetched(_)
            | Outcome::Skipped(Skip::Unchanged)
            | Outcome::Failed(Error::Status { .. } | Error::Range(_))
                if queue.answered(id) =>
            {
                self.changed.notify_one();
            }
            _ => {}
        }
        let is_last = closes(finished, self.context.limits) || self.context.control.is_cancelled();
        let left = if is_last { queue.close() } else { Vec::new() };
        queue.end(id);
        left
    }

    fn put_back(&self, id: usize, wait: Duration, failure: &Error, transfer: Transfer<'a>) {
        let now = Instant::now();
        let mut shared = self.lock();
        self.spare_files(&mut shared, failure);
        shared.busy -= 1;
        let queue = &mut shared.queue;
        if failure.is_throttled() {
            queue.refused(id);
        }
        self.hold_host(queue, id, failure);
        queue.put_back(id, now + wait, transfer);
        // There may be an earlier time to watch for now.
        self.clock.notify_one();
    }

    /// Holds back the host of a download, and that of the redirect that said so. A wish that nobody waits for holds
    /// back no other download either: each is asked, and told so.
    fn hold_host(&self, queue: &mut Queue<Transfer<'a>>, id: usize, failure: &Error) {
        if let Some(RetryAfter { host, wait }) = failure.retry_after().filter(|hold| hold.wait <= MAX_RETRY_AFTER) {
            let until = Instant::now() + *wait;
            queue.hold_host_of(id, until);
            if let Some(host) = self.hosts.get(host) {
                queue.hold(*host, until);
            }
        }
    }

    /// Where too many files are open: closes the connections that nothing uses, and has fewer threads from now on.
    fn spare_files(&self, shared: &mut Shared<'a>, failure: &Error) {
        if failure.is_out_of_files() {
            self.clients.close_idle();
            let fewer = (shared.busy * 3 / 4).max(1);
            shared.most = shared.most.min(fewer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared<'a>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number for each host, from 0, and that of each download's.
fn hosts(plan: &Plan) -> (HashMap<String, u32>, Vec<u32>) {
    let mut numbers = HashMap::new();
    let mut host_of: Vec<u32> = Vec::with_capacity(plan.downloads().len());
    let mut last: Option<&Download> = None;
    for download in plan.downloads() {
        // Most lists have one host after the other.
        let number = match (last.filter(|last| last.url.has_same_host(&download.url)), host_of.last()) {
            (Some(_), Some(number)) => *number,
            _ => {
                let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                *numbers.entry(download.url.host()).or_insert(next)
            }
        };
        host_of.push(number);
        last = Some(download);
    }
    (numbers, host_of)
}
