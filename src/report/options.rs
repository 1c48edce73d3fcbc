//! How the command displays a run, as the user chose.

use std::path::PathBuf;

/// How to display a run.
#[derive(Debug, Clone)]
pub struct DisplayOptions {
    pub progress: ProgressMode,
    pub verbosity: Verbosity,
    /// Write JSON Lines to standard output instead of the summary.
    pub json: bool,
    /// The output directory, as shown to the user.
    pub directory: PathBuf,
    /// Whether this is a comparison of two runs.
    pub compare: bool,
}

/// How progress is shown on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressMode {
    /// Bars on a terminal, plain lines elsewhere.
    Auto,
    /// Bars, if there is a terminal to draw them on.
    Bars,
    /// Lines, even on a terminal.
    Plain,
    /// Failures only.
    None,
}

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Failures only, and no summary.
    Failures,
    /// Also starts, ends, retries and warnings.
    Normal,
    /// Also redirects, status codes and checks.
    Everything,
}
