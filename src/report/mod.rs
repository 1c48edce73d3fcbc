//! What is SEEN of a run: bars, plain lines, JSON Lines and the summary. The only writer to the terminal.

mod bars;
mod json;
mod lines;
mod summary;
mod units;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::measure::Comparison;
use crate::options::Mode;
use crate::plan::{Download, Plan};
use crate::run::{Event, Outcome, Reporter, Summary};
use bars::Bars;
use json::JsonLines;

pub use lines::Detail;

/// How progress is shown on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Bars on a terminal, plain lines elsewhere.
    Auto,
    /// Bars, if there is a terminal to draw them on.
    Bars,
    /// A line for each change of state.
    Plain,
    /// Failures only.
    None,
}

/// What a user wants to see.
#[derive(Debug, Clone)]
pub struct Wishes {
    pub style: Style,
    pub detail: Detail,
    /// JSON Lines on standard output, in place of the summary.
    pub json: bool,
    /// The output directory, as it is to be shown.
    pub directory: PathBuf,
    /// Whether two runs are compared.
    pub compares: bool,
}

/// Everything that a user sees of a run.
pub struct Report {
    wishes: Wishes,
    stdout: Arc<Stdout>,
    json: Option<JsonLines>,
    bars: Option<Bars>,
}

impl Report {
    pub fn new(wishes: Wishes) -> Self {
        let has_bars = match wishes.style {
            Style::Auto | Style::Bars => wishes.detail != Detail::Failures && can_draw(),
            Style::Plain | Style::None => false,
        };
        let stdout = Arc::new(Stdout::default());
        Self {
            json: wishes.json.then(|| JsonLines::new(Arc::clone(&stdout), wishes.directory.clone(), wishes.compares)),
            stdout,
            bars: has_bars.then(Bars::start),
            wishes,
        }
    }

    /// Takes the bars away, and lets no JSON record but the closing one pass from now on.
    pub fn finish(&self) {
        if let Some(bars) = &self.bars {
            bars.finish();
        }
        if let Some(json) = &self.json {
            json.finish();
        }
    }

    /// Why the result could not be written, if it could not.
    pub fn failure(&self) -> Option<&io::Error> {
        self.stdout.failure.get()
    }

    /// The closing words after a run.
    pub fn summary(&self, summary: &Summary) {
        self.finish();
        if let Some(json) = &self.json {
            json.summary(summary);
        } else if self.wishes.detail == Detail::Failures {
            // Failures were told when they came.
        } else if self.wishes.compares && summary.mode == Mode::Sequential {
            self.stdout.write(&summary::of_first_run(summary));
        } else {
            self.stdout.write(&summary::of_run(summary));
        }
    }

    /// The closing words after a comparison.
    pub fn comparison(&self, comparison: &Comparison) {
        self.finish();
        if let Some(json) = &self.json {
            json.comparison(comparison);
        } else if self.wishes.detail != Detail::Failures {
            self.stdout.write(&summary::of_comparison(comparison));
        } else if !comparison.differing.is_empty() {
            to_stderr(&summary::of_differences(comparison));
        }
    }

    /// What would be done, without doing it; `exists` tells which targets are there.
    pub fn plan(&self, plan: &Plan, exists: impl Fn(&Download) -> bool) {
        if let Some(json) = &self.json {
            return plan.downloads().iter().for_each(|download| json.planned(download));
        }
        for download in plan.downloads() {
            let line = lines::planned(download, &self.wishes.directory, exists(download));
            self.stdout.write(&format!("{line}\n"));
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        // What was said while there were bars is not lost with them.
        self.finish();
    }
}

impl Reporter for Report {
    fn event(&self, event: &Event<'_>) {
        if let Some(json) = &self.json {
            json.event(event);
        }
        let detail = match self.wishes.style {
            Style::None => Detail::Failures,
            _ => self.wishes.detail,
        };
        let line = match event {
            Event::Planned(plan, mode) if self.wishes.compares && detail != Detail::Failures => {
                Some(lines::of_pass(plan, *mode))
            }
            event => lines::of_event(event, detail),
        };
        match (&self.bars, line) {
            (Some(bars), line) => bars.event(event, line),
            (None, Some(line)) => to_stderr(&format!("{line}\n")),
            (None, None) => {}
        }
    }
}

/// Standard output, for the result.
#[derive(Default)]
struct Stdout {
    /// Why something could not be written.
    failure: OnceLock<io::Error>,
}

impl Stdout {
    /// Writes, and stops no download if it cannot. A reader that has gone, as with `| head`, is no failure.
    fn write(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => drop(self.failure.set(error)),
            _ => {}
        }
    }
}

/// Writes a message.
pub fn to_stderr(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether standard error is a terminal on which a cursor can be moved.
fn can_draw() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether a download that has ended counts as done for a reader who waits.
const fn is_done(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Fetched(_) | Outcome::Skipped(_))
}
