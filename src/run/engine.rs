//! The two ways through a plan: threads around one queue, and a plain loop. Both run the same transfers.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::event::Event;
use super::outcome::{Ending, Outcome};
use super::queue::{Next, Queue};
use super::transfer::{Context, Transfer, Turn, Worker, download_file};
use crate::error::Failure;
use crate::http::Clients;
use crate::options::Limits;
use crate::plan::{Download, Plan};

/// A thread that waits for a time looks this often whether the run was cancelled.
const CANCEL_SEEN_WITHIN: Duration = Duration::from_millis(100);

/// One download after another, in the caller's thread.
pub fn sequential(context: &Context<'_>, limits: &Limits, clients: &Clients) {
    let mut worker = Worker::new(clients.of_thread(0));
    let mut is_closed = false;
    for download in context.plan.downloads() {
        let ending = if is_closed || context.control.is_cancelled() {
            never_begun()
        } else {
            let mut transfer = None;
            loop {
                match turn(download, &mut transfer, context, &mut worker) {
                    Turn::Ended(ending) => break ending,
                    Turn::Wait(wait) => sleep(wait, context),
                }
            }
        };
        is_closed |= closes(&ending, limits);
        conclude(download, &ending, context);
    }
}

/// Downloads side by side in `threads` threads, each taking the next when it is done. All are joined.
pub fn concurrent(context: &Context<'_>, limits: &Limits, clients: &Clients, threads: usize) {
    let pool = Pool {
        context,
        limits,
        queue: Mutex::new(Queue::new(hosts(context.plan), limits.per_host)),
        changed: Condvar::new(),
    };
    let pool = &pool;
    thread::scope(|scope| {
        for number in 0..threads {
            let work = move || pool.work(Worker::new(clients.of_thread(number)));
            let spawned = thread::Builder::new()
                .name(format!("tdl-{number}"))
                .spawn_scoped(scope, work);
            if let Err(error) = spawned {
                let warning =
                    format!("only {number} of {threads} threads could be started: {error}");
                context.reporter.event(&Event::Warning(&warning));
                if number == 0 {
                    pool.work(Worker::new(clients.of_thread(0)));
                }
                break;
            }
        }
    });
}

/// What the threads of a run share: one lock, around the queue.
struct Pool<'a> {
    context: &'a Context<'a>,
    limits: &'a Limits,
    queue: Mutex<Queue<Transfer<'a>>>,
    changed: Condvar,
}

impl<'a> Pool<'a> {
    /// Starts downloads until none is left.
    fn work(&self, mut worker: Worker<'_>) {
        while let Some((id, mut transfer)) = self.next() {
            let download = &self.context.plan.downloads()[id];
            match turn(download, &mut transfer, self.context, &mut worker) {
                Turn::Ended(ending) => {
                    conclude(download, &ending, self.context);
                    self.lock().end(id);
                    if closes(&ending, self.limits) || self.context.control.is_cancelled() {
                        self.close();
                    }
                }
                Turn::Wait(wait) => {
                    if let Some(transfer) = transfer {
                        self.lock().put_back(id, Instant::now() + wait, transfer);
                    }
                    // A thread that waits for nothing but an end has a time to wait for now.
                    self.changed.notify_one();
                }
            }
        }
    }

    /// Blocks until a download may start or be gone on with; `None` when nothing is left.
    ///
    /// A download that ends makes room for one other, which the thread that ended it takes when it comes here next:
    /// so nobody is woken for it.
    fn next(&self) -> Option<(usize, Option<Transfer<'a>>)> {
        let mut queue = self.lock();
        loop {
            let now = Instant::now();
            queue = match queue.next(now) {
                Next::Start(id, transfer) => return Some((id, transfer)),
                Next::Done => {
                    self.changed.notify_all();
                    return None;
                }
                Next::Wait(None) => self
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner),
                Next::Wait(Some(_)) if self.context.control.is_cancelled() => {
                    queue.end_all_waits();
                    queue
                }
                Next::Wait(Some(until)) => {
                    let wait = until.saturating_duration_since(now).min(CANCEL_SEEN_WITHIN);
                    self.changed
                        .wait_timeout(queue, wait)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    /// Lets nothing new begin, and reports what never will.
    fn close(&self) {
        let left = self.lock().close();
        for id in left {
            conclude(
                &self.context.plan.downloads()[id],
                &never_begun(),
                self.context,
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<Transfer<'a>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One turn of a download, begun if it was not. A panic in it is that download's failure.
fn turn<'a>(
    download: &'a Download,
    transfer: &mut Option<Transfer<'a>>,
    context: &Context<'_>,
    worker: &mut Worker<'_>,
) -> Turn {
    let turn = catch_unwind(AssertUnwindSafe(|| {
        let transfer = transfer.get_or_insert_with(|| Transfer::new(download));
        download_file(transfer, context, worker)
    }));
    turn.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "panic".to_owned());
        let outcome = Outcome::Failed(Failure::Panicked(text));
        Turn::Ended(match transfer {
            Some(transfer) => transfer.ended(outcome),
            None => Ending {
                outcome,
                ..never_begun()
            },
        })
    })
}

fn conclude(download: &Download, ending: &Ending, context: &Context<'_>) {
    context.control.count(&download.url, ending);
    context.reporter.event(&Event::Ended(download, ending));
}

/// Whether nothing new is to begin after this end.
fn closes(ending: &Ending, limits: &Limits) -> bool {
    limits.fail_fast
        && matches!(&ending.outcome, Outcome::Failed(failure) if !failure.is_temporary())
}

const fn never_begun() -> Ending {
    Ending {
        outcome: Outcome::Cancelled,
        attempts: 0,
        own_time: Duration::ZERO,
    }
}

fn sleep(wait: Duration, context: &Context<'_>) {
    let until = Instant::now() + wait;
    while !context.control.is_cancelled() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(CANCEL_SEEN_WITHIN));
    }
}

/// The host of each download, as numbers from 0.
fn hosts(plan: &Plan) -> Vec<u32> {
    let mut numbers = HashMap::new();
    plan.downloads()
        .iter()
        .map(|download| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            *numbers.entry(download.url.host()).or_insert(next)
        })
        .collect()
}
