//! What all downloads of a run share, and what one worker thread owns.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::cancel::Stop;
use super::claimed_names::ClaimedNames;
use super::event::{Event, Reporter};
use super::growing_list::GrowingList;
use super::listing::Listing;
use super::open_files::OpenFileBudget;
use super::split::SplitRegistry;
use super::stats::RunStats;
use crate::error::Error;
use crate::http::{Client, Clients, Timing};
use crate::options::{IfExists, Limits, Mode, Options, Output, Retry};
use crate::part::{self, Checkpointer};
use crate::plan::{Download, Plan};

/// Bytes read at once. 128 KiB and 256 KiB are no faster (measured).
const BUFFER: usize = 64 * 1024;

/// What all downloads of a run share.
pub struct Session<'a> {
    pub plan: &'a Plan,
    /// What is still to come; `None` if the plan is complete.
    pub list: Option<GrowingList>,
    pub output: &'a Output,
    pub retry: &'a Retry,
    pub limits: &'a Limits,
    pub stats: Arc<RunStats>,
    pub clients: Clients,
    pub budget: OpenFileBudget,
    pub checkpointer: Checkpointer,
    /// Running downloads that idle threads may help with; `None` where files are not split.
    pub splits: Option<SplitRegistry>,
    /// Whether the output directory was empty when the run began. First attempts then need not look for a target, a
    /// part file or a sidecar. The commit still notices what has appeared since.
    pub output_was_empty: bool,
    /// What else was in the output directory then, where existing files are skipped.
    pub listing: Listing,
    /// The names that files have been given in this run, where the server names them.
    pub claimed_names: ClaimedNames,
    reporter: &'a dyn Reporter,
    stop: Stop<'a>,
    warned_of_missing_locks: AtomicBool,
    warned_of_renames: AtomicBool,
}

impl<'a> Session<'a> {
    /// Prepares a run: raises the limit on open files, starts the network threads and the clock.
    ///
    /// # Errors
    ///
    /// [`Error::Exhausted`] if no network thread can be started.
    pub fn new(
        plan: &'a Plan,
        list: Option<GrowingList>,
        options: &'a Options,
        reporter: &'a dyn Reporter,
        stop: Stop<'a>,
    ) -> Result<Self, Error> {
        let Options { network, retry, limits, output } = options;
        let is_concurrent = limits.mode == Mode::Concurrent;
        let (budget, warning) = OpenFileBudget::for_run(limits, if list.is_some() { usize::MAX } else { plan.len() });
        let output_was_empty = part::is_empty_directory(&output.directory);
        let skips_existing = output.if_exists == IfExists::Skip && !output_was_empty;
        let listing = if skips_existing { Listing::read(plan, &output.directory) } else { Listing::unknown() };
        let session = Self {
            plan,
            output,
            retry,
            limits,
            reporter,
            stats: Arc::new(RunStats::new(plan.len(), limits.mode, list.is_some())),
            list,
            clients: Clients::new(network, budget.max_threads, budget.max_idle_connections)?,
            budget,
            checkpointer: Checkpointer::default(),
            splits: (is_concurrent && limits.split).then(SplitRegistry::default),
            output_was_empty,
            listing,
            claimed_names: ClaimedNames::default(),
            stop,
            warned_of_missing_locks: AtomicBool::new(false),
            warned_of_renames: AtomicBool::new(false),
        };
        if let Some(warning) = warning {
            session.emit(&Event::Warning(&warning));
        }
        Ok(session)
    }

    /// Whether the server names the file of a download.
    pub fn is_named_by_server(&self, download: &Download) -> bool {
        self.output.remote_name && !download.is_named()
    }

    /// Whether the run must stop: it was cancelled, or its time is over.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_stopped()
    }

    /// Whether the time limit has expired.
    pub fn is_out_of_time(&self) -> bool {
        self.stop.is_out_of_time()
    }

    /// Reports an event. A panic of the reporter is ignored.
    pub fn emit(&self, event: &Event<'_>) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.reporter.event(event)));
    }

    /// Warns, once per run, that two processes could write to the same file here.
    pub fn warn_of_missing_locks(&self) {
        if !self.warned_of_missing_locks.swap(true, Ordering::Relaxed) {
            let warning =
                "the file system does not support locks: do not run another tdl in this directory at the same time";
            self.emit(&Event::Warning(warning));
        }
    }

    /// Warns, once per run, that a file that appears at a target during the run may be replaced.
    pub fn warn_of_renames(&self) {
        if !self.warned_of_renames.swap(true, Ordering::Relaxed) {
            let warning = "the file system supports neither hard links nor renames that do not replace: \
                           do not let other programs write to this directory during the run";
            self.emit(&Event::Warning(warning));
        }
    }
}

/// What one worker thread owns.
pub struct Worker<'a> {
    pub client: Client<'a>,
    pub buffer: Box<[u8]>,
    /// How long the exchange took from which the last body was received.
    pub timing: Option<Timing>,
}

impl<'a> Worker<'a> {
    pub fn new(client: Client<'a>) -> Self {
        Self { client, buffer: vec![0; BUFFER].into_boxed_slice(), timing: None }
    }
}
