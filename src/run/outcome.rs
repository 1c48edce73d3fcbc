//! How a download finished, and the sums over all downloads of a run.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::http::Framing;
use crate::options::Mode;
use crate::plan::{Download, Target};

/// How one download finished.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Its file is complete and has its final name.
    Fetched(Fetched),
    /// Its target exists and was not touched.
    Skipped(SkipReason),
    /// It failed, permanently or temporarily: see [`Error::is_temporary`].
    Failed(Error),
    /// The run was cancelled before it finished, or before it started.
    Cancelled,
}

/// Why an existing file was not touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// It exists; it was not checked.
    Exists,
    /// It exists, and tdl fetched it from a source of this download. Whether it has been changed since was not checked.
    SameSource,
    /// The server says that it has not changed since the existing file's modification time.
    Unchanged,
}

/// A complete file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// Its target. Differs from the planned one if that was taken and [`IfExists::Rename`] applies, or if the
    /// [server named it](crate::options::Output::remote_name).
    ///
    /// [`IfExists::Rename`]: crate::options::IfExists::Rename
    pub target: Target,
    /// Its path.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// The status of the response.
    pub status: u16,
    /// How the end of the body was determined, and hence what its length was checked against.
    pub framing: Framing,
    /// The `Content-Encoding` that the server applied without being asked. The file is saved as sent.
    pub content_encoding: Option<String>,
}

/// A failed attempt.
#[derive(Debug)]
pub struct Unfinished {
    pub failure: Error,
    /// Bytes that are kept for a later attempt.
    pub kept: u64,
}

impl From<Error> for Unfinished {
    fn from(failure: Error) -> Self {
        Self { failure, kept: 0 }
    }
}

/// A finished download, with what it took.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finished {
    /// How it finished.
    pub outcome: Outcome,
    /// The target of its file, if that is not the planned one: the server may have
    /// [named it](crate::options::Output::remote_name), or an earlier run. The name of a [`Fetched`] file is in that.
    pub other_target: Option<Target>,
    /// Attempts; redirects are not counted.
    pub attempts: u32,
    /// Bytes that came over the network for it.
    pub transferred: u64,
    /// The time of its attempts and of the waits between them that the retry policy asked for. Time in the queue is
    /// not counted.
    pub own_time: Duration,
    /// The time that other threads spent on its segments, less the time that its own thread waited for them.
    pub helper_time: Duration,
}

impl Finished {
    /// Its target, as far as that is known: another one may have replaced the planned one.
    #[must_use]
    pub fn target<'a>(&'a self, download: &'a Download) -> &'a Target {
        self.other_target.as_ref().unwrap_or(download.target())
    }

    /// A download without an attempt.
    pub(super) const fn without_counts(outcome: Outcome) -> Self {
        Self {
            outcome,
            other_target: None,
            attempts: 0,
            transferred: 0,
            own_time: Duration::ZERO,
            helper_time: Duration::ZERO,
        }
    }
}

/// The results of a run, so far or in total.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Summary {
    /// Downloads in the plan, and what is no valid entry of a list that was read during the run.
    pub total: usize,
    /// Whether the list has not ended, so that there may be more downloads. At the end of a run: it was stopped before
    /// it had the whole list.
    pub is_list_open: bool,
    /// When the list ended, since the run began; zero if the plan was complete at first.
    pub list_time: Duration,
    /// Files that were fetched.
    pub fetched: usize,
    /// Files that existed and were not checked.
    pub skipped: usize,
    /// Files that existed and had been fetched from a source of their download.
    pub same_source: usize,
    /// Files that existed and, the server says, have not changed since.
    pub unchanged: usize,
    /// Downloads that failed permanently, and what is no valid entry of the list.
    pub failed_permanently: usize,
    /// Downloads that failed temporarily.
    pub failed_temporarily: usize,
    /// Fetched files whose end was marked only by the close of the connection, so that truncation goes unnoticed.
    pub unchecked: usize,
    /// Fetched files that were saved in the content encoding in which they were sent.
    pub encoded: usize,
    /// Bytes of the fetched files.
    pub bytes: u64,
    /// Bytes that came over the network for finished downloads. Fewer than `bytes` where downloads were resumed.
    pub transferred: u64,
    /// The time since the run began.
    pub elapsed: Duration,
    /// The sum of the own and helper times of all finished downloads.
    pub total_download_time: Duration,
    /// The sum of the own times of failed downloads.
    pub failed_time: Duration,
    /// The longest own time of a finished download.
    pub longest: Duration,
    /// When the last file was fetched, since the run began.
    pub last_fetched: Duration,
    /// Whether the downloads were concurrent.
    pub mode: Mode,
    /// Threads that downloaded.
    pub threads: usize,
    /// The failures that come first in the list: at most ten that are permanent, and ten that are temporary.
    pub failures: Vec<FailureNote>,
}

/// A failure, as the summary prints it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FailureNote {
    /// The position of the download in the plan, or that of the next one if there is no valid entry.
    pub id: usize,
    /// Where its entry is from; see [`Entry::with_place`](crate::Entry::with_place).
    pub place: u32,
    /// The redacted URL; `None` if there is no valid entry.
    pub url: Option<String>,
    /// The failure and its causes.
    pub reason: String,
    /// Whether the same command may succeed later.
    pub is_temporary: bool,
}

impl Summary {
    /// Files that existed and were not touched, for whatever reason.
    #[must_use]
    pub const fn existing(&self) -> usize {
        self.skipped + self.same_source + self.unchanged
    }

    /// Downloads that failed, permanently or temporarily.
    #[must_use]
    pub const fn failed(&self) -> usize {
        self.failed_permanently + self.failed_temporarily
    }

    /// Downloads that did not finish because the run was cancelled or stopped at a failure.
    #[must_use]
    pub const fn cancelled(&self) -> usize {
        self.total.saturating_sub(self.fetched + self.existing() + self.failed())
    }
}
