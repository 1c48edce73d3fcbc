//! Downloads lists of files concurrently and reports what happened. A file gets its final name only after every byte
//! that the server promised has arrived, and the summary says how much time concurrency saved.
//!
//! One file is one call, [`download_file`]. A list is a [`Plan`], [`Options`] and [`run()`]; one that is not complete yet is
//! downloaded while it comes with [`run_growing`]. Of a complete list:
//!
//! ```
//! # use std::io::{Read, Write};
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let address = listener.local_addr()?;
//! # std::thread::spawn(move || {
//! #     for mut stream in listener.incoming().flatten() {
//! #         std::thread::spawn(move || {
//! #             while stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
//! #                 stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
//! #             }
//! #         });
//! #     }
//! # });
//! # let scratch = tempfile::tempdir()?;
//! use tdl::{CancelToken, Event, Options, Plan, WebUrl, run};
//!
//! let urls = ["a.txt", "b.txt"].map(|name| format!("http://{address}/{name}"));
//! let urls = urls.iter().map(|url| WebUrl::parse(url)).collect::<Result<Vec<_>, _>>()?;
//! let plan = Plan::new(urls, |_| false);
//! let mut options = Options::default();
//! options.output.directory = scratch.path().join("files");
//! let reporter = |event: &Event<'_>| {
//!     if let Event::Finished(download, finished) = event {
//!         println!("{}: {:?}", download.url(), finished.outcome);
//!     }
//! };
//!
//! let summary = run(&plan, &options, &reporter, &CancelToken::new())?;
//!
//! assert_eq!((summary.fetched, summary.bytes), (2, 10));
//! assert_eq!(std::fs::read(scratch.path().join("files/a.txt"))?, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | list entry | one line or record of a list: URLs, a target, expectations ([`Entry`]) |
//! | download | one file to get: its sources, its target, what is expected of it ([`Download`]) |
//! | source | a URL that a download can come from, with the headers meant for it; several are mirrors ([`Source`]) |
//! | target | the path, inside the output directory, that the finished file will have ([`Target`]) |
//! | plan | all downloads of a run; no two share a target; it may grow during the run ([`Plan`]) |
//! | attempt | one try at a download: its requests, and receiving and committing the response |
//! | response | the status, headers and body that a server sends for one request |
//! | validator | a strong `ETag` or `Last-Modified` that proves that two responses are of the same file (RFC 9110, 8.8) |
//! | effective URL | the URL that responded, after redirects |
//! | transfer | what is remembered of a download between its attempts |
//! | segment | a byte range of a file that one thread fetches; over several connections, a file is split into segments |
//! | part file | `NAME.part`: the bytes so far |
//! | sidecar | `NAME.part.json`: what a later run needs to resume, and which process owns the part file |
//! | checkpoint | syncing bytes to disk, and then recording in the sidecar that they are there |
//! | commit | verifying a complete file, and then giving it its final name |
//! | source mark | an extended attribute of a committed file that tells which source it came from |
//! | permit | permission for one request to a host, given by the queue and returned to it |
//! | hold | a time in which a host must not be contacted, because it sent a `Retry-After` |
//! | limiter | what decides how many permits a host has now |
//! | outcome | fetched, skipped, failed permanently, failed temporarily, cancelled ([`Outcome`]) |
//! | event | a change of state, for a reporter ([`Event`]) |
//!
//! # Flow of data
//!
//! ```text
//! arguments ─► cli ─► Options ┐
//! list files ─► plan::list ───┴► Plan ─► scheduler ─► attempt ─► receive ─► commit ─► Outcome ─► summary ─► exit code
//!                                            │            │
//!                                            └── events ──┴─► reporters (bars | lines | JSON Lines)
//! ```
//!
//! Values flow to the right. Each folder of `src` imports only those below it: `cli` (the command), `report` (output),
//! `measure` (`--compare`), `run` (scheduling and attempts), `part` (files on disk), `http` (requests and responses),
//! `plan` (downloads and their targets). Without the default feature `cli`, the first three and the crates that only
//! they need are left out.
//!
//! # Effects on the process
//!
//! A run raises the soft limit on open files to the hard one. The first request installs rustls' ring provider as
//! the default of the process, unless there is one already. No signal handler is installed and nothing is printed.

#![deny(clippy::print_stdout, clippy::print_stderr, clippy::exit)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

use std::path::Path;
use std::sync::mpsc::Receiver;

/// The README's examples are tested as well.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "cli")]
pub mod cli;
mod digest;
mod error;
mod http;
#[cfg(feature = "cli")]
mod measure;
pub mod options;
mod part;
mod plan;
#[cfg(feature = "cli")]
mod report;
mod run;
mod text;
mod url;

pub use digest::{Algorithm, Digest};
pub use error::{Cause, Error, MAX_REDIRECTS, Redirect, RetryAfter};
pub use http::Framing;
pub use options::Options;
pub use plan::{
    AddError, Clash, Download, Entry, Expected, Layout, PathError, Plan, SafeName, Source, Sums, Target, Unmatched,
    list,
};
pub use run::{
    CancelToken, Event, FailureNote, Fetched, Finished, Item, Outcome, Progress, Reporter, RunStats, SkipReason,
    Summary,
};
pub use url::{UrlError, WebUrl};

/// For the fuzz targets of this repository. Not a part of the library's interface.
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::http::{ContentRange, parse_file_name, parse_retry_after};
    pub use crate::part::{Ranges, Sidecar};
    pub use crate::plan::SafeName;
    pub use crate::text::is_hidden;

    /// The name of a file that a server suggests a name for.
    #[must_use]
    pub fn name_from_server(name: &str) -> SafeName {
        SafeName::from_server(name)
    }
}

/// Runs a plan: creates the output directory, downloads every file, and returns when all have finished.
///
/// `reporter` receives what happens: any `Fn(&Event<'_>) + Sync`, or `&()` for nothing. With a clone of `cancel`,
/// another thread can stop the run; [`Limits::max_time`](options::Limits::max_time) stops it as well. A failed download
/// does not affect the others: it is counted in the summary, and reported as an event.
///
/// # Errors
///
/// Nothing was downloaded. [`Error::Disk`] if the output directory cannot be created, or cannot be written to although
/// something is to be fetched; [`Error::Exhausted`] if the system has no threads left.
pub fn run(plan: &Plan, options: &Options, reporter: &dyn Reporter, cancel: &CancelToken) -> Result<Summary, Error> {
    run::execute(plan, options, reporter, cancel)
}

/// Runs a plan that grows: downloads what it has, and meanwhile adds to it what `list` brings, until the list's last
/// sender is dropped. Returns when all downloads have finished.
///
/// The names are those that a plan of the whole list would have given. [`Event::Planned`] is about what is known when the
/// run begins; each download that is added later has an [`Event::Added`]. What is no valid entry is reported as
/// [`Event::Invalid`], and counts as a permanent failure. Once the run is stopped, nothing more is taken from the list.
///
/// A run of an empty plan begins with the first item. If there is none, nothing is done, not even an event reported.
///
/// # Errors
///
/// As for [`run()`].
///
/// # Examples
///
/// ```
/// # use std::io::{Read, Write};
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let address = listener.local_addr()?;
/// # std::thread::spawn(move || {
/// #     for mut stream in listener.incoming().flatten() {
/// #         std::thread::spawn(move || {
/// #             while stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
/// #                 stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
/// #             }
/// #         });
/// #     }
/// # });
/// # let scratch = tempfile::tempdir()?;
/// use tdl::{CancelToken, Item, Options, Plan, WebUrl, run_growing};
///
/// let mut options = Options::default();
/// options.output.directory = scratch.path().to_owned();
/// let (tx, list) = std::sync::mpsc::sync_channel::<Item>(1000);
/// std::thread::spawn(move || {
///     for number in 1..=3 {
///         let url = WebUrl::parse(&format!("http://{address}/{number}")).unwrap();
///         tx.send(url.into()).unwrap();
///     }
/// });
///
/// let summary = run_growing(&Plan::default(), list, &options, &(), &CancelToken::new())?;
///
/// assert_eq!((summary.total, summary.fetched), (3, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run_growing(
    plan: &Plan,
    list: Receiver<Item>,
    options: &Options,
    reporter: &dyn Reporter,
    cancel: &CancelToken,
) -> Result<Summary, Error> {
    run::execute_growing(plan, list, options, reporter, cancel)
}

/// Downloads one file into a directory, under the name that its URL ends in, and blocks until it is complete.
///
/// The directory is created if it is missing. An existing file is never replaced. Temporary failures are retried
/// according to [`Options::default`]. For other options, or for a list, use [`run()`].
///
/// # Errors
///
/// [`Error::Url`] if `url` is not an absolute http or https URL, [`Error::Exists`] if the file exists, and the reason
/// if the file could not be fetched.
///
/// # Examples
///
/// ```
/// # use std::io::{Read, Write};
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let url = format!("http://{}/hello.txt", listener.local_addr()?);
/// # let server = std::thread::spawn(move || {
/// #     let (mut stream, _) = listener.accept().unwrap();
/// #     stream.read(&mut [0; 4096]).unwrap();
/// #     stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
/// # });
/// # let scratch = tempfile::tempdir()?;
/// # let directory = scratch.path();
/// let file = tdl::download_file(&url, directory)?;
///
/// assert_eq!(file.target.as_str(), "hello.txt");
/// assert_eq!(std::fs::read(directory.join("hello.txt"))?, b"hello");
/// # server.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn download_file(url: &str, directory: impl AsRef<Path>) -> Result<Fetched, Error> {
    let plan = Plan::new([WebUrl::parse(url)?], |_| false);
    let mut options = Options::default();
    options.output.directory = directory.as_ref().to_owned();
    options.output.if_exists = options::IfExists::Fail;
    options.limits.mode = options::Mode::Sequential;
    run::execute_first(&plan, &options)
}
