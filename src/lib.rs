//! Downloads a list of files at once, and tells the truth about it: a file has its final name only when every byte
//! that the server promised has come, and the report says what running side by side gained.
//!
//! One file is one call: [`download_file`]. A list is a [`Plan`], [`Options`] and [`run()`], which is what the
//! command does:
//!
//! ```
//! use tdl::{Control, Options, Plan, WebUrl, run};
//!
//! # let scratch = tempfile::tempdir()?;
//! let mut options = Options::default();
//! options.output.directory = scratch.path().join("files");
//! options.retry.retries = 0;
//! let urls = vec![WebUrl::parse("http://127.0.0.1:9/nobody-listens-here")?];
//! let plan = Plan::new(urls, |_| false);
//!
//! let summary = run(&plan, &options, &(), &Control::default())?;
//!
//! assert_eq!((summary.fetched, summary.failed_temporarily), (0, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # One way for the data
//!
//! ```text
//! arguments ─► cli ─► Options ┐
//! list files ─► list ─────────┴► plan ─► engine ─► transfer ─► outcome ─► summary ─► exit code
//!                                           │          │
//!                                           └── events ┴─► report (bars | plain | JSON lines)
//! ```
//!
//! The folders are the stations on a URL's way, and each imports only those before it: [`plan`] is what to fetch,
//! [`http`] how to ask, [`part`] where bytes land, [`mod@run`] doing it, `report` what is seen, `cli` the command.
//! Without the default feature `cli` the last two, and all that only they need, are left out.

#![deny(clippy::print_stdout, clippy::print_stderr, clippy::exit)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

/// The README's examples are tested as well.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "cli")]
pub mod cli;
pub mod error;
pub mod http;
#[cfg(feature = "cli")]
mod measure;
pub mod options;
pub mod part;
pub mod plan;
#[cfg(feature = "cli")]
mod report;
pub mod run;
pub mod text;
pub mod url;

pub use error::Error;
pub use options::Options;
pub use plan::Plan;
pub use run::{Control, Event, Fetched, Reporter, Summary, download_file, run};
pub use url::WebUrl;
