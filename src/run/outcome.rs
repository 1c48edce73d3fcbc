//! How a download ended, and what the run makes of all of them.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::http::Framing;
use crate::options::Mode;
use crate::plan::SafeName;

/// How one download ended.
#[derive(Debug)]
pub enum Outcome {
    /// Its file is whole and has its final name.
    Fetched(Fetched),
    /// Its target was there, and was left alone.
    Skipped(Skip),
    /// It was given up.
    Failed(Error),
    /// The run ended before it was done, or before it began.
    Cancelled,
}

/// Why a target was left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// It was there, and was not checked.
    Exists,
    /// The server says that it has not changed since the target's time.
    Unchanged,
}

/// A file that came whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its name in the output directory; not the planned one if that was taken meanwhile and another was to be found.
    pub name: SafeName,
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// The status of the answer.
    pub status: u16,
    /// How the end of the body was known, and so what its length was checked against.
    pub framing: Framing,
    /// The `Content-Encoding` in which the server sent it although it was asked not to, and in which it was saved.
    pub content_encoding: Option<String>,
}

/// An attempt that brought no whole file.
#[derive(Debug)]
pub struct Unfinished {
    pub failure: Error,
    /// Bytes that are there for a later attempt.
    pub kept: u64,
}

impl From<Error> for Unfinished {
    fn from(failure: Error) -> Self {
        Self { failure, kept: 0 }
    }
}

/// A download's end, with what it took.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub outcome: Outcome,
    /// Requests that were begun, without their redirects.
    pub attempts: u32,
    /// Bytes that came over the network for it.
    pub transferred: u64,
    /// Its own time: its attempts, and the waits between them that the retry policy asked for; not its time in the
    /// queue.
    pub own_time: Duration,
    /// The time that other threads spent on it, less that which its own waited for them.
    pub helper_time: Duration,
}

/// What a run came to, so far or in all.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Downloads in the plan.
    pub total: usize,
    /// Files that came whole.
    pub fetched: usize,
    /// Files that were there, and were not checked.
    pub skipped: usize,
    /// Files that were there, and have not changed since, by the server's word.
    pub unchanged: usize,
    /// Failures for good.
    pub failed_permanently: usize,
    /// Failures that may pass.
    pub failed_temporarily: usize,
    /// Fetched files whose end only the close of the connection showed, so that a shorter one could not be told.
    pub unchecked: usize,
    /// Fetched files that were saved in the content coding in which they came.
    pub encoded: usize,
    /// Bytes of the fetched files.
    pub bytes: u64,
    /// Bytes that came over the network: fewer than those of the fetched files where some were there before.
    pub transferred: u64,
    /// From the start of the run.
    pub elapsed: Duration,
    /// The own times of all downloads and of their helpers, added up.
    pub own_times: Duration,
    /// The longest own time of a download.
    pub longest: Duration,
    /// How the downloads followed each other.
    pub mode: Mode,
    /// Threads that ran transfers.
    pub threads: usize,
    /// The first failures, in the order in which they came.
    pub failures: Vec<FailureNote>,
}

/// A failure as the summary tells it.
#[derive(Debug, Clone)]
pub struct FailureNote {
    /// The redacted URL.
    pub url: String,
    /// The failure and its causes.
    pub why: String,
}

impl Summary {
    /// Failures of both kinds.
    #[must_use]
    pub const fn failed(&self) -> usize {
        self.failed_permanently + self.failed_temporarily
    }

    /// Downloads that did not end: the run was interrupted, or stopped at a failure.
    #[must_use]
    pub const fn cancelled(&self) -> usize {
        self.total.saturating_sub(self.fetched + self.skipped + self.unchanged + self.failed())
    }

    /// The same run, when its time is over: what did not end has failed for now.
    #[must_use]
    pub const fn out_of_time(mut self) -> Self {
        self.failed_temporarily += self.cancelled();
        self
    }
}
