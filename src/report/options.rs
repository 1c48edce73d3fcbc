//! What the user asked to see.

use std::path::PathBuf;

/// What to show of a run, and how.
#[derive(Debug, Clone)]
pub struct DisplayOptions {
    pub progress: ProgressMode,
    pub verbosity: Verbosity,
    /// Write JSON Lines to standard output instead of the summary.
    pub json: bool,
    /// The output directory, as shown to the user.
    pub directory: PathBuf,
    /// Whether two runs are compared.
    pub compare: bool,
}

/// How progress is shown on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressMode {
    /// Bars on a terminal, plain lines elsewhere.
    Auto,
    /// Bars, if there is a terminal to draw them on.
    Bars,
    /// A line for each change of state.
    Plain,
    /// Failures only.
    None,
}

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Failures, and no summary.
    Failures,
    /// Also starts, ends, retries and warnings.
    Normal,
    /// Also redirects, status codes and checks.
    Everything,
}
