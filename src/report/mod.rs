//! What the user sees of a run: bars, plain lines, JSON Lines and the summary. The only folder that writes to the
//! terminal. It reads counters and events; it never slows or steers a run.

mod bars;
mod display;
mod json;
mod lines;
mod streams;
mod summary;
mod terminal;
mod units;

pub use display::{DisplayOptions, ProgressMode, Verbosity};
pub use streams::write_stderr;
pub use terminal::TerminalReporter;
