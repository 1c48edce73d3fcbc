//! JSON Lines: a record for each change of state, for programs. URLs are not redacted, so that a program can request
//! them again. The README documents the fields; fields may be added, but not renamed or removed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::batch::BatchWriter;
use super::streams::Stdout;
use crate::measure::Comparison;
use crate::options::Mode;
use crate::plan::{Download, Plan, Target};
use crate::run::{Event, Finished, Outcome, SkipReason, Summary};

/// How many records of a plan are written at a time.
const BATCH: usize = 1000;

/// Writes the records to standard output.
pub struct JsonLines {
    stdout: Arc<Stdout>,
    lines: BatchWriter,
    directory: PathBuf,
    compare: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Which run of a comparison is in progress.
    pass: Option<Mode>,
    has_ended: bool,
}

/// A record about one download.
#[derive(Serialize)]
struct DownloadRecord<'a> {
    event: &'static str,
    id: usize,
    url: &'a str,
    /// Relative to the output directory.
    out: &'a str,
    /// Omitted while a comparison downloads into its scratch directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(flatten)]
    details: Details,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'static str>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "snake_case")]
struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Bytes received over the network in this run, including those of failed attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    /// In `finished`, whether truncation would have been detected. In `skipped`, whether the server said that the file
    /// is unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    checked: Option<bool>,
    /// What is known of an existing file.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The coding that the server applied without being asked; the file is saved as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    /// Seconds until the next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    wait: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temporary: Option<bool>,
}

/// A record about what is no valid entry of a list.
#[derive(Serialize)]
struct InvalidRecord<'a> {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<&'a str>,
    error: &'a str,
}

/// The last record of a run or comparison.
#[derive(Serialize)]
struct SummaryRecord<'a> {
    event: &'static str,
    fetched: usize,
    skipped: usize,
    failed: usize,
    cancelled: usize,
    encoded: usize,
    bytes: u64,
    received: u64,
    seconds: f64,
    mode: &'static str,
    threads: usize,
    /// Whether the list was read to its end.
    list_complete: bool,
    #[serde(flatten)]
    comparison: Option<ComparisonFields<'a>>,
}

/// The fields that a comparison adds to the summary record. Both times are measured, without what failures took; the
/// sequential run went first.
#[derive(Serialize)]
struct ComparisonFields<'a> {
    sequential_seconds: f64,
    concurrent_seconds: f64,
    speed_up: Option<f64>,
    same: usize,
    differing: &'a [String],
    only_in_one: &'a [String],
    in_neither: &'a [String],
}

impl JsonLines {
    pub fn new(stdout: Arc<Stdout>, directory: PathBuf, compare: bool) -> Self {
        let output = Arc::clone(&stdout);
        let lines = BatchWriter::new(move |lines| output.write(lines));
        Self { stdout, lines, directory, compare, state: Mutex::default() }
    }

    /// Writes the record of an event, if that kind of event has one.
    pub fn write_event(&self, event: &Event<'_>) {
        match event {
            Event::Planned { plan, mode, .. } => {
                self.lines.start_thread();
                self.state.lock().unwrap_or_else(PoisonError::into_inner).pass = self.compare.then_some(*mode);
                self.write_plan(plan);
            }
            Event::Started(download, _) => self.write_record("started", download, Details::default()),
            Event::Retrying { download, failure, wait, attempts, .. } => {
                let details = Details {
                    attempts: Some(*attempts),
                    status: failure.status(),
                    wait: Some(seconds(*wait)),
                    error: Some(failure.chain()),
                    kind: Some(failure.kind()),
                    temporary: Some(true),
                    ..Details::default()
                };
                self.write_record("retrying", download, details);
            }
            Event::Finished(download, finished) => {
                let details = Details {
                    seconds: Some(seconds(finished.own_time)),
                    attempts: Some(finished.attempts),
                    received: Some(finished.transferred),
                    ..Details::default()
                };
                self.write_outcome(download, finished, details);
            }
            Event::Added(download) => self.write_record("planned", download, Details::default()),
            Event::Invalid { .. }
            | Event::ListEnded(_)
            | Event::StartingOver(..)
            | Event::Redirected(..)
            | Event::Held(..)
            | Event::Released(_)
            | Event::TryingAgain(_)
            | Event::WaitingForPermit(_)
            | Event::Split(..)
            | Event::SegmentFailed(..)
            | Event::Warning(_) => {}
        }
    }

    /// Writes the record of what is no valid entry of a list. `place` says where it is, if that is known.
    pub fn write_invalid(&self, place: Option<&str>, problem: &str) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.has_ended {
            self.write(&InvalidRecord { event: "invalid", place, error: problem });
        }
    }

    /// Writes the records of all planned downloads.
    pub fn write_plan(&self, plan: &Plan) {
        let mut downloads = plan.downloads().peekable();
        while downloads.peek().is_some() {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.has_ended {
                return;
            }
            let line = |download: &Download| {
                to_line(&self.record("planned", download, download.target(), Details::default(), state.pass))
            };
            self.lines.flush();
            self.stdout.write_lines(downloads.by_ref().take(BATCH).filter_map(line));
        }
    }

    /// Writes the last record of a run.
    pub fn write_summary(&self, summary: &Summary) {
        self.write(&summary_record(summary, None));
        self.lines.flush();
    }

    /// Writes the last record of a comparison. Its counts are those of the concurrent run, whose files are kept.
    pub fn write_comparison(&self, comparison: &Comparison) {
        let compared = ComparisonFields {
            sequential_seconds: seconds(comparison.sequential_time()),
            concurrent_seconds: seconds(comparison.concurrent_time()),
            speed_up: comparison.speed_up(),
            same: comparison.same,
            differing: &comparison.differing,
            only_in_one: &comparison.in_one,
            in_neither: &comparison.in_neither,
        };
        self.write(&summary_record(&comparison.concurrent, Some(compared)));
        self.lines.flush();
    }

    /// Discards later records, except the summary.
    pub fn end_events(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).has_ended = true;
    }

    fn write_outcome(&self, download: &Download, finished: &Finished, details: Details) {
        match &finished.outcome {
            Outcome::Fetched(file) => {
                let details = Details {
                    bytes: Some(file.bytes),
                    status: Some(file.status),
                    checked: Some(file.framing.detects_truncation()),
                    content_encoding: file.content_encoding.clone(),
                    ..details
                };
                self.write_record_as("finished", download, &file.target, details);
            }
            Outcome::Skipped(skip) => {
                let checked = Some(*skip == SkipReason::Unchanged);
                let reason = Some(match skip {
                    SkipReason::Exists => "exists",
                    SkipReason::SameSource => "same-url",
                    SkipReason::Unchanged => "unchanged",
                });
                let details = Details { checked, reason, ..details };
                self.write_record_as("skipped", download, finished.target(download), details);
            }
            Outcome::Failed(failure) => {
                let details = Details {
                    error: Some(failure.chain()),
                    kind: Some(failure.kind()),
                    temporary: Some(failure.is_temporary()),
                    status: failure.status(),
                    ..details
                };
                self.write_record("failed", download, details);
            }
            Outcome::Cancelled => {
                let details = Details {
                    error: Some("the run ended first".to_owned()),
                    kind: Some("cancelled"),
                    temporary: Some(true),
                    ..details
                };
                self.write_record("failed", download, details);
            }
        }
    }

    fn write_record(&self, event: &'static str, download: &Download, details: Details) {
        self.write_record_as(event, download, download.target(), details);
    }

    fn write_record_as(&self, event: &'static str, download: &Download, target: &Target, details: Details) {
        // Locked while writing, so that no record follows the summary.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.has_ended {
            return;
        }
        self.write(&self.record(event, download, target, details, state.pass));
    }

    fn record<'a>(
        &self,
        event: &'static str,
        download: &'a Download,
        target: &'a Target,
        details: Details,
        pass: Option<Mode>,
    ) -> DownloadRecord<'a> {
        let path = || target.path_in(&self.directory).to_string_lossy().into_owned();
        DownloadRecord {
            event,
            id: download.id(),
            url: download.url().unredacted(),
            out: target.as_str(),
            path: (pass != Some(Mode::Sequential)).then(path),
            details,
            pass: pass.map(Mode::name),
        }
    }

    fn write(&self, record: &impl Serialize) {
        if let Some(line) = to_line(record) {
            self.lines.write_line(&line);
        }
    }
}

/// Serializes a record. For these types that cannot fail.
fn to_line(record: &impl Serialize) -> Option<String> {
    serde_json::to_string(record).ok()
}

fn summary_record<'a>(summary: &Summary, comparison: Option<ComparisonFields<'a>>) -> SummaryRecord<'a> {
    SummaryRecord {
        event: "summary",
        fetched: summary.fetched,
        skipped: summary.existing(),
        failed: summary.failed(),
        cancelled: summary.cancelled(),
        encoded: summary.encoded,
        bytes: summary.bytes,
        received: summary.transferred,
        seconds: seconds(summary.elapsed),
        mode: if comparison.is_some() { "compare" } else { summary.mode.name() },
        threads: summary.threads,
        list_complete: !summary.is_list_open,
        comparison,
    }
}

/// Converts a time to seconds, rounded to microseconds.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}
