//! Displays a run: bars, plain lines, JSON Lines and the summary. Apart from clap's help and usage errors, nothing else
//! writes to the terminal.

mod bars;
mod batch;
mod heartbeat;
mod json;
mod lines;
mod live;
mod options;
mod places;
mod screen;
mod streams;
mod style;
mod summary;
mod terminal;
mod units;
mod view;

pub use options::{DisplayOptions, ProgressMode, Verbosity};
pub use places::Places;
pub use streams::write_error;
pub use terminal::TerminalReporter;
