//! JSON Lines on standard output: a record for each change of state, for programs. URLs are whole here, for a
//! program may have to ask them again. Fields are only ever added.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::Stdout;
use crate::measure::Comparison;
use crate::options::Mode;
use crate::plan::{Download, SafeName};
use crate::run::{Event, Outcome, Skip, Summary};

/// Writes the records.
pub struct JsonLines {
    stdout: Arc<Stdout>,
    directory: PathBuf,
    compares: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Which run of a comparison goes on.
    pass: Option<Mode>,
    is_finished: bool,
}

/// A record about one download.
#[derive(Serialize)]
struct Record<'a> {
    event: &'static str,
    id: usize,
    url: &'a str,
    /// Relative to the output directory.
    out: &'a str,
    /// Left out while a comparison downloads to a scratch directory.
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
    /// Of these, those that came over the network in this run, with those of attempts that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    /// Whether the end of the file was known by more than the close of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    checked: Option<bool>,
    /// The content coding in which the server sent the file although it was asked not to, and in which it was saved.
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

/// The closing record.
#[derive(Serialize)]
struct Closing<'a> {
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
    #[serde(flatten)]
    comparison: Option<Compared<'a>>,
}

/// What a comparison adds to the closing record; times in seconds, both measured, the sequential run first.
#[derive(Serialize)]
struct Compared<'a> {
    sequential_seconds: f64,
    concurrent_seconds: f64,
    speed_up: Option<f64>,
    same: usize,
    differing: &'a [String],
}

impl JsonLines {
    pub fn new(stdout: Arc<Stdout>, directory: PathBuf, compares: bool) -> Self {
        Self { stdout, directory, compares, state: Mutex::default() }
    }

    pub fn event(&self, event: &Event<'_>) {
        match event {
            Event::Planned(plan, mode) => {
                self.state.lock().unwrap_or_else(PoisonError::into_inner).pass = self.compares.then_some(*mode);
                plan.downloads().iter().for_each(|download| self.planned(download));
            }
            Event::Started(download, _) => self.record("started", download, Details::default()),
            Event::Retrying { download, failure, wait, attempts } => {
                let details = Details {
                    attempts: Some(*attempts),
                    status: failure.status(),
                    wait: Some(seconds(*wait)),
                    error: Some(failure.chain()),
                    kind: Some(failure.kind()),
                    temporary: Some(true),
                    ..Details::default()
                };
                self.record("retrying", download, details);
            }
            Event::Finished(download, finished) => {
                let details = Details {
                    seconds: Some(seconds(finished.own_time)),
                    attempts: Some(finished.attempts),
                    received: Some(finished.transferred),
                    ..Details::default()
                };
                self.ended(download, &finished.outcome, details);
            }
            Event::StartingOver(..)
            | Event::Redirected(..)
            | Event::Split(..)
            | Event::SegmentFailed(..)
            | Event::Warning(_) => {}
        }
    }

    fn ended(&self, download: &Download, outcome: &Outcome, details: Details) {
        match outcome {
            Outcome::Fetched(file) => {
                let (bytes, status, checked) =
                    (Some(file.bytes), Some(file.status), Some(file.framing.detects_truncation()));
                let content_encoding = file.content_encoding.clone();
                let details = Details { bytes, status, checked, content_encoding, ..details };
                self.record_as("finished", download, &file.name, details);
            }
            Outcome::Skipped(skip) => {
                let is_checked = *skip == Skip::Unchanged;
                self.record("skipped", download, Details { checked: Some(is_checked), ..details });
            }
            Outcome::Failed(failure) => {
                let (error, kind, temporary) =
                    (Some(failure.chain()), Some(failure.kind()), Some(failure.is_temporary()));
                let status = failure.status();
                self.record("failed", download, Details { error, kind, temporary, status, ..details });
            }
            Outcome::Cancelled => {
                let error = Some("the run ended before it was done".to_owned());
                self.record(
                    "failed",
                    download,
                    Details { error, kind: Some("cancelled"), temporary: Some(true), ..details },
                );
            }
        }
    }

    /// A download of the plan.
    pub fn planned(&self, download: &Download) {
        self.record("planned", download, Details::default());
    }

    /// The closing record of a run.
    pub fn summary(&self, summary: &Summary) {
        self.write(&closing(summary, None));
    }

    /// The closing record of a comparison: its counts are those of the run whose files stay.
    pub fn comparison(&self, comparison: &Comparison) {
        let compared = Compared {
            sequential_seconds: seconds(comparison.sequential.elapsed),
            concurrent_seconds: seconds(comparison.concurrent.elapsed),
            speed_up: comparison.speed_up(),
            same: comparison.same,
            differing: &comparison.differing,
        };
        self.write(&closing(&comparison.concurrent, Some(compared)));
    }

    /// Lets no record but the closing one pass from now on.
    pub fn finish(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_finished = true;
    }

    fn write(&self, record: &impl Serialize) {
        // These types have nothing that cannot be written as JSON.
        if let Ok(line) = serde_json::to_string(record) {
            self.stdout.write(&(line + "\n"));
        }
    }

    fn record(&self, event: &'static str, download: &Download, details: Details) {
        self.record_as(event, download, &download.target, details);
    }

    fn record_as(&self, event: &'static str, download: &Download, name: &SafeName, details: Details) {
        // Held while writing, so that nothing follows the closing record.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_finished {
            return;
        }
        let path = || self.directory.join(name.as_str()).to_string_lossy().into_owned();
        self.write(&Record {
            event,
            id: download.id,
            url: download.url.unredacted(),
            out: name.as_str(),
            path: (state.pass != Some(Mode::Sequential)).then(path),
            details,
            pass: state.pass.map(Mode::name),
        });
    }
}

fn closing<'a>(summary: &Summary, comparison: Option<Compared<'a>>) -> Closing<'a> {
    Closing {
        event: "summary",
        fetched: summary.fetched,
        skipped: summary.skipped + summary.unchanged,
        failed: summary.failed(),
        cancelled: summary.cancelled(),
        encoded: summary.encoded,
        bytes: summary.bytes,
        received: summary.transferred,
        seconds: seconds(summary.elapsed),
        mode: if comparison.is_some() { "compare" } else { summary.mode.name() },
        threads: summary.threads,
        comparison,
    }
}

/// Seconds to the microsecond.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}
