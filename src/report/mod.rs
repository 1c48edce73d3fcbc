//! Displays a run: bars, plain lines, JSON Lines and the summary. Apart from clap's help and usage errors, nothing else
//! writes to the terminal.

mod bars;
mod batch;
mod json;
mod lines;
mod options;
mod streams;
mod summary;
mod terminal;
mod units;

pub use options::{DisplayOptions, ProgressMode, Verbosity};
pub use streams::write_stderr;
pub use terminal::TerminalReporter;
