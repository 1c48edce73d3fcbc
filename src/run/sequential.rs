//! Downloads one after another: a plain loop in the caller's thread.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use super::context::{Context, Worker};
use super::outcome::{Finished, Outcome};
use super::retry::MAX_RETRY_AFTER;
use super::transfer::{Transfer, Turn};
use super::turn::{closes, conclude, never_begun, turn};
use crate::error::RetryAfter;
use crate::http::Clients;
use crate::plan::Download;

/// A wait looks this often whether the run was cancelled.
const TICK: Duration = Duration::from_millis(100);

/// One download after another, in the caller's thread.
pub fn sequential(context: &Context<'_>, clients: &Clients) {
    context.control.count_thread();
    let is_cancelled = || context.control.is_cancelled();
    let mut worker = Worker::new(clients.for_thread(0, &is_cancelled));
    let mut is_closed = false;
    let mut held: HashMap<String, Instant> = HashMap::new();
    for download in context.plan.downloads() {
        let finished = if is_closed || context.control.is_cancelled() {
            never_begun(context)
        } else {
            if let Some(until) = held.remove(&download.url.host()) {
                sleep(until.saturating_duration_since(Instant::now()), context);
            }
            to_its_end(download, context, clients, &mut worker)
        };
        if let Outcome::Failed(failure) = &finished.outcome {
            // What was not waited for in the end still is what the server wants.
            if let Some(RetryAfter { host, wait }) = failure.retry_after().filter(|hold| hold.wait <= MAX_RETRY_AFTER) {
                held.insert(host.clone(), Instant::now() + *wait);
            }
        }
        is_closed |= closes(&finished, context.limits);
        conclude(download, &finished, context);
    }
}

/// One download, with all its retries and the waits between them.
pub fn to_its_end(download: &Download, context: &Context<'_>, clients: &Clients, worker: &mut Worker<'_>) -> Finished {
    let mut transfer = Transfer::new(download);
    loop {
        match turn(transfer, context, worker) {
            Turn::Ended(finished) => return finished,
            Turn::Wait { transfer: again, wait, failure } => {
                if failure.is_out_of_files() {
                    clients.close_idle();
                }
                sleep(wait, context);
                transfer = again;
            }
        }
    }
}

fn sleep(wait: Duration, context: &Context<'_>) {
    let begun = Instant::now();
    while !context.control.is_cancelled() {
        let left = wait.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(TICK));
    }
}
