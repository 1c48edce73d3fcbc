//! `--sequential`: a plain loop over the downloads, in the calling thread.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::RetryAfter;
use crate::plan::Download;
use crate::run::finish::{not_started, report_finished, stops_run};
use crate::run::growth::{Addition, add_arrived, next_addition};
use crate::run::outcome::{Finished, Outcome};
use crate::run::retry::hold;
use crate::run::session::{Session, Worker};
use crate::run::step::{Step, report_retry, step};
use crate::run::transfer::Transfer;

/// How often a wait checks whether the run was stopped.
const TICK: Duration = Duration::from_millis(100);

/// How many items of a list that has not ended are taken between two downloads, if they have arrived.
const MAX_ADDED: usize = 1000;

/// Runs one download after another, as long as there are more or the list brings more.
pub fn run_sequentially(session: &Session<'_>) {
    let is_stopped = || session.is_stopped();
    session.stats.count_thread();
    let mut worker = Worker::new(session.clients.for_thread(0, &is_stopped));
    let mut is_closed = false;
    let mut held_until: HashMap<String, Instant> = HashMap::new();
    let mut told_to_wait: Option<String> = None;
    let mut id = 0;
    loop {
        if !is_closed && !session.is_stopped() {
            is_closed = !add_arrived(session, MAX_ADDED);
        }
        let download = match session.plan.get(id) {
            Some(download) => download,
            None => match next_addition(session, &|| is_closed) {
                Addition::Download(download) => download,
                Addition::StopsRun | Addition::End => break,
            },
        };
        id += 1;
        let finished = if is_closed || session.is_stopped() {
            not_started(session)
        } else {
            if let Some(until) = held_until.remove(&download.url().host_and_port()) {
                sleep(until.saturating_duration_since(Instant::now()), session);
            }
            run_to_completion(download, session, &mut worker)
        };
        if let Outcome::Failed(failure) = &finished.outcome {
            // The download has run out of retries, but its host still must not be contacted yet. A 503 may be about one
            // URL, unless the one before was told the same.
            if let Some(RetryAfter { host, wait }) = hold(failure).filter(|_| failure.is_throttled()) {
                let is_busy = failure.status() == Some(429) || told_to_wait.as_ref() == Some(host);
                if is_busy {
                    held_until.insert(host.clone(), Instant::now() + *wait);
                }
                told_to_wait = Some(host.clone());
            }
        } else {
            told_to_wait = None;
        }
        is_closed |= stops_run(&finished, session);
        report_finished(download, &finished, session);
    }
}

/// Runs one download, with its retries and the waits between them.
pub fn run_to_completion(download: &Download, session: &Session<'_>, worker: &mut Worker<'_>) -> Finished {
    let mut transfer = Transfer::new(download);
    loop {
        match step(transfer, session, worker) {
            Step::Finished(finished) => return finished,
            Step::Retry { transfer: next, wait, failure } => {
                report_retry(&next, &failure, wait, session);
                if failure.has_too_many_open_files() {
                    session.clients.close_idle();
                }
                sleep(wait, session);
                transfer = next;
            }
        }
    }
}

fn sleep(wait: Duration, session: &Session<'_>) {
    let started = Instant::now();
    while !session.is_stopped() {
        let left = wait.saturating_sub(started.elapsed());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(TICK));
    }
}
