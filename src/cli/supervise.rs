//! Runs the plan on its own thread, waits for it to end, for a signal or for the deadline, and writes the summary. The
//! run itself stops its downloads.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::bail;

use super::args::FetchCommand;
use super::exit::Exit;
use super::input::{NOTHING, STDIN};
use super::signal::{self, Signal};
use super::stdin::{StdinSettings, put_before, read_stdin};
use super::warnings::ListWarnings;
use crate::error::Error;
use crate::measure::{self, CompareResult, Scratch};
use crate::options::Options;
use crate::plan::Plan;
use crate::report::{TerminalReporter, write_error};
use crate::run::{CancelToken, Event, Item, Reporter as _, RunStats, Summary, execute, execute_growing};

/// How long an interrupted run has to shut down cleanly.
const GRACE_PERIOD: Duration = Duration::from_millis(1000);

/// How long past its maximum time a run has to stop by itself. After that, threads stuck in a read are abandoned.
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
    Run(Box<Summary>),
    Comparison(CompareResult),
}

impl Completed {
    /// Whether the run has ended because there was nothing to do.
    const fn has_found_nothing(&self) -> bool {
        matches!(self, Self::Run(summary) if summary.total == 0 && !summary.is_list_open)
    }
}

/// What is to be fetched or reported beside the plan.
pub struct More {
    /// What is wrong with lines that keep nothing else from being fetched, and their places.
    pub invalid: Vec<(u32, String)>,
    /// The place of the line before the first of standard input, if that is a list.
    pub stdin: Option<u32>,
}

/// Runs the plan on a separate thread, so that a signal can end the process even if the run is stuck.
pub fn supervise(
    plan: Plan,
    more: More,
    command: FetchCommand,
    warnings: ListWarnings,
    reporter: TerminalReporter,
) -> anyhow::Result<Exit> {
    let FetchCommand { options, compare, list_settings, layout, .. } = command;
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
    let (cancel, latest) = (CancelToken::new(), LatestStats::default());
    // Its thread is started once signals are handled: one that reached it before would be lost.
    let stdin = StdinSettings { has_started: !plan.is_empty(), layout, list: list_settings };
    let list = more.stdin.map(|start| read_stdin(STDIN, start, stdin)).transpose()?;
    let (list, list_failure) = list.map_or((None, None), |list| (Some(list.items), Some(list.failure)));
    let list = put_before(more.invalid, list)?;
    let run = Run {
        plan,
        list,
        options,
        scratch: scratch_path,
        reporter: Arc::clone(&reporter),
        warnings,
        latest: latest.clone(),
    };
    run.start(cancel.clone(), tx)?;

    match wait_for_message(&rx, timeout) {
        Some(Message::Ended(Ok(completed))) if completed.has_found_nothing() => {
            match list_failure.as_deref().and_then(OnceLock::get) {
                Some(error) => bail!("{STDIN}: cannot read the list: {error}"),
                None => bail!(NOTHING),
            }
        }
        Some(Message::Ended(Ok(completed))) => Ok(write_result(&completed, &reporter).check_output(&reporter)),
        Some(Message::Ended(Err(error))) if latest.summary().total == 0 => Err(error.into()),
        Some(Message::Ended(Err(error))) => {
            reporter.end_progress();
            write_error(&error.chain());
            reporter.write_summary(&latest.summary(), false);
            Ok(Exit::Failed)
        }
        Some(Message::Signal(signal)) => {
            cancel.cancel();
            let _ = rx.recv_timeout(GRACE_PERIOD);
            write_last_summary(&reporter, latest.summary(), true);
            Ok(Exit::Interrupted(signal))
        }
        // The run has not stopped by itself, so a thread is stuck in a read.
        None => {
            cancel.cancel();
            let mut summary = latest.summary();
            summary.failed_temporarily += summary.cancelled();
            let exit = Exit::from_summary(&summary);
            write_last_summary(&reporter, summary, false);
            Ok(exit)
        }
    }
}

/// A run or comparison, and where its events go.
struct Run {
    plan: Plan,
    /// What is still to come.
    list: Option<Receiver<Item>>,
    options: Options,
    /// The directory for the first run of a comparison.
    scratch: Option<PathBuf>,
    reporter: Arc<TerminalReporter>,
    warnings: ListWarnings,
    latest: LatestStats,
}

impl Run {
    /// Starts a thread for the run. The thread sends one message, when the run ends or panics.
    fn start(self, cancel: CancelToken, tx: Sender<Message>) -> Result<(), Error> {
        let thread = move || {
            // The run, and its reference to the reporter, are dropped before the message is sent.
            let result = catch_unwind(AssertUnwindSafe(move || self.run_plan(&cancel)))
                .unwrap_or_else(|_| Err(Error::Panicked("the thread of the run panicked".to_owned())));
            let _ = tx.send(Message::Ended(result));
        };
        thread::Builder::new().name("tdl-run".to_owned()).spawn(thread).map_err(exhausted("start a thread"))?;
        Ok(())
    }

    fn run_plan(self, cancel: &CancelToken) -> Result<Completed, Error> {
        let Self { plan, list, options, scratch, reporter, warnings, latest } = self;
        let reporter = |event: &Event<'_>| {
            latest.record(event);
            reporter.event(event);
            warnings.observe(event, |warning| reporter.event(&Event::Warning(warning)));
        };
        let completed = |summary| Completed::Run(Box::new(summary));
        match (scratch, list) {
            (Some(scratch), _) => {
                measure::compare(&plan, &options, &scratch, &reporter, cancel).map(Completed::Comparison)
            }
            (None, Some(list)) => execute_growing(&plan, list, &options, &reporter, cancel).map(completed),
            (None, None) => execute(&plan, &options, &reporter, cancel).map(completed),
        }
    }
}

/// Waits for a message, or returns `None` after the timeout.
fn wait_for_message(rx: &Receiver<Message>, timeout: Option<Duration>) -> Option<Message> {
    match timeout {
        None => rx.recv().ok(),
        Some(timeout) => rx.recv_timeout(timeout).ok(),
    }
}

/// The counters of the run that started last: a comparison has two.
#[derive(Clone, Default)]
struct LatestStats(Arc<Mutex<Option<Arc<RunStats>>>>);

impl LatestStats {
    fn record(&self, event: &Event<'_>) {
        if let Event::Planned { stats, .. } = event {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(stats));
        }
    }

    /// Returns the summary so far, which is empty before the run has started.
    fn summary(&self) -> Summary {
        let stats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stats.as_ref().map_or_else(Summary::default, |stats| stats.snapshot())
    }
}

/// Returns a constructor for the error that the system currently cannot provide a thread or file.
fn exhausted(action: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Exhausted { action, source }
}

/// Writes the summary of a completed run or comparison, and returns the exit.
fn write_result(completed: &Completed, reporter: &TerminalReporter) -> Exit {
    match completed {
        Completed::Run(summary) => {
            reporter.write_summary(summary, false);
            Exit::from_summary(summary)
        }
        Completed::Comparison(CompareResult::FirstOnly(first)) => {
            reporter.write_summary(first, false);
            Exit::from_unfinished_comparison(first)
        }
        Completed::Comparison(CompareResult::Both(comparison)) => {
            reporter.write_comparison(comparison);
            Exit::from_comparison(comparison)
        }
    }
}

/// Writes the summary of a run that was ended, by a signal or at its deadline. Gives up after [`SUMMARY_TIMEOUT`]: a full pipe must not keep the process
/// alive.
fn write_last_summary(reporter: &Arc<TerminalReporter>, summary: Summary, is_interrupted: bool) {
    let (tx, rx) = mpsc::channel();
    let reporter = Arc::clone(reporter);
    let writer = thread::Builder::new().spawn(move || {
        reporter.write_summary(&summary, is_interrupted);
        let _ = tx.send(());
    });
    if writer.is_ok() {
        let _ = rx.recv_timeout(SUMMARY_TIMEOUT);
    }
}
