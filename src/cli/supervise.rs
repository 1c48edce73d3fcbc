//! Runs a plan in its own thread while this one waits for its end, a signal or the deadline, and writes the summary.
//! Ending the downloads is left to the run.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use super::args::FetchRequest;
use super::exit::Exit;
use super::signal::{self, Signal};
use crate::error::Error;
use crate::measure::{self, Compared, Scratch};
use crate::options::Options;
use crate::plan::Plan;
use crate::report::{TerminalReporter, write_stderr};
use crate::run::{self, Control, Summary};

/// How long an interrupted run may take to stop in an orderly way.
const GRACE_PERIOD: Duration = Duration::from_millis(1000);

/// How long a run may exceed its maximum time to stop by itself. A thread stuck in a read is then not waited for.
const OVERTIME: Duration = Duration::from_millis(400);

/// How long writing the summary of an interrupted run may take.
const SUMMARY_TIMEOUT: Duration = Duration::from_millis(400);

/// What the supervising thread waits for.
enum Message {
    Ended(Result<Completed, Error>),
    Signal(Signal),
}

/// The result of a run or comparison.
enum Completed {
    Run(Summary),
    Comparison(Compared),
}

/// Carries out the plan. The run has its own thread, so that a signal can end the process even if the run is stuck.
pub fn supervise(plan: Plan, request: FetchRequest, reporter: TerminalReporter) -> anyhow::Result<Exit> {
    let FetchRequest { options, compare, .. } = request;
    let (tx, rx) = mpsc::channel();
    let signal_tx = tx.clone();
    signal::listen(move |signal| drop(signal_tx.send(Message::Signal(signal))))
        .map_err(exhausted("listen for signals"))?;
    measure::remove_dead(&options.output.directory);
    // Removed when this function returns.
    let scratch = compare.then(|| Scratch::create_in(&options.output.directory)).transpose()?;
    let scratch_path = scratch.as_ref().map(|scratch| scratch.path().to_owned());

    let timeout = options.limits.max_time.map(|time| time + OVERTIME);
    let reporter = Arc::new(reporter);
    let controls = Controls::default();
    spawn_run(plan, options, scratch_path, Arc::clone(&reporter), controls.clone(), tx)?;

    match receive(&rx, timeout) {
        Some(Message::Ended(Ok(completed))) => Ok(write_result(&completed, &reporter).check_output(&reporter)),
        Some(Message::Ended(Err(error))) if controls.summary().total == 0 => Err(error.into()),
        Some(Message::Ended(Err(error))) => {
            reporter.end_progress();
            write_stderr(&format!("{}\n", error.chain()));
            reporter.write_summary(&controls.summary());
            Ok(Exit::Failed)
        }
        Some(Message::Signal(signal)) => {
            controls.cancel();
            let _ = rx.recv_timeout(GRACE_PERIOD);
            write_last_summary(&reporter, controls.summary());
            Ok(Exit::Interrupted(signal))
        }
        // The run has used up its time and overtime, so a thread is stuck in a read.
        None => {
            controls.cancel();
            let summary = controls.summary().out_of_time();
            let exit = Exit::from_summary(&summary);
            write_last_summary(&reporter, summary);
            Ok(exit)
        }
    }
}

/// Starts the thread of the run. It sends one message when the run ends or panics.
fn spawn_run(
    plan: Plan,
    options: Options,
    scratch: Option<PathBuf>,
    reporter: Arc<TerminalReporter>,
    controls: Controls,
    tx: Sender<Message>,
) -> Result<(), Error> {
    let carry_out = move || match scratch {
        Some(scratch) => {
            measure::compare(&plan, &options, &scratch, &*reporter, controls.both()).map(Completed::Comparison)
        }
        None => run::run(&plan, &options, &*reporter, controls.first()).map(Completed::Run),
    };
    let thread = move || {
        let result = catch_unwind(AssertUnwindSafe(carry_out))
            .unwrap_or_else(|_| Err(Error::Panicked("the thread of the run panicked".to_owned())));
        let _ = tx.send(Message::Ended(result));
    };
    thread::Builder::new().name("tdl-run".to_owned()).spawn(thread).map_err(exhausted("start a thread"))?;
    Ok(())
}

/// Waits for a message, or returns `None` after the timeout.
fn receive(rx: &Receiver<Message>, timeout: Option<Duration>) -> Option<Message> {
    match timeout {
        None => rx.recv().ok(),
        Some(timeout) => rx.recv_timeout(timeout).ok(),
    }
}

/// Cancels a run or comparison and reads its counters. A comparison uses one control per run, a run only the first.
#[derive(Clone, Default)]
struct Controls(Arc<[Control; 2]>);

impl Controls {
    fn first(&self) -> &Control {
        &self.0[0]
    }

    fn both(&self) -> &[Control; 2] {
        &self.0
    }

    fn cancel(&self) {
        self.0.iter().for_each(Control::cancel);
    }

    /// Returns the summary so far of the run that started last.
    fn summary(&self) -> Summary {
        let [first, second] = self.0.each_ref().map(Control::summary);
        if second.total > 0 { second } else { first }
    }
}

/// Makes an error for a thread or file that the system cannot provide at the moment.
fn exhausted(action: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Exhausted { action, source }
}

fn write_result(completed: &Completed, reporter: &TerminalReporter) -> Exit {
    match completed {
        Completed::Run(summary) => {
            reporter.write_summary(summary);
            Exit::from_summary(summary)
        }
        Completed::Comparison(Compared::FirstOnly(first)) => {
            reporter.write_summary(first);
            Exit::from_unfinished_comparison(first)
        }
        Completed::Comparison(Compared::Both(comparison)) => {
            reporter.write_comparison(comparison);
            Exit::from_comparison(comparison)
        }
    }
}

/// Writes the summary of an interrupted run, but gives up after a time: a full pipe must not keep the process alive.
fn write_last_summary(reporter: &Arc<TerminalReporter>, summary: Summary) {
    let (tx, rx) = mpsc::channel();
    let reporter = Arc::clone(reporter);
    let writer = thread::Builder::new().spawn(move || {
        reporter.write_summary(&summary);
        let _ = tx.send(());
    });
    if writer.is_ok() {
        let _ = rx.recv_timeout(SUMMARY_TIMEOUT);
    }
}
