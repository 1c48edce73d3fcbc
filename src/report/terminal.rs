//! Passes the events and results of a run to what displays them: bars or lines, JSON Lines, the summary.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::bars::Bars;
use super::batch::BatchWriter;
use super::heartbeat::Heartbeat;
use super::json::JsonLines;
use super::lines::Wording;
use super::options::{DisplayOptions, ProgressMode, Verbosity};
use super::places::Places;
use super::streams::{Stdout, can_draw, stderr_style, stdout_is_terminal, write_stderr};
use super::{lines, summary};
use crate::measure::Comparison;
use crate::options::Mode;
use crate::plan::{Download, Origin, Plan, Target};
use crate::run::{Event, Finished, Outcome, Reporter, SkipReason, Summary};

/// The reporter of the command. Results go to standard output, progress and messages to standard error.
pub struct TerminalReporter {
    options: DisplayOptions,
    stdout: Arc<Stdout>,
    json: Option<JsonLines>,
    progress: Progress,
    wording: Wording,
    places: Places,
    /// How many files were there already.
    skipped: AtomicUsize,
}

/// What goes to standard error.
enum Progress {
    Bars(Bars),
    Lines(Heartbeat),
}

/// How many files that are there already have a line of their own, except with `-v`. Where a million are, a line for
/// each would take a quarter of the time of the run (measured).
const MAX_SKIPPED: usize = 1000;

impl TerminalReporter {
    /// Starts drawing bars if the options and the terminal allow it.
    pub fn new(options: DisplayOptions) -> Self {
        let has_bars = match options.progress {
            // Records and bars on the same terminal would be a mess.
            ProgressMode::Auto if options.json && stdout_is_terminal() => false,
            ProgressMode::Auto | ProgressMode::Bars => options.verbosity != Verbosity::Failures && can_draw(),
            ProgressMode::Plain | ProgressMode::None => false,
        };
        let style = stderr_style();
        let verbosity = match options.progress {
            ProgressMode::None => Verbosity::Failures,
            _ => options.verbosity,
        };
        let wording = Wording { verbosity, style, has_bars };
        let stdout = Arc::new(Stdout::default());
        let json = || JsonLines::new(Arc::clone(&stdout), options.directory.clone(), options.compare);
        let progress = if has_bars {
            Progress::Bars(Bars::start(style))
        } else {
            Progress::Lines(Heartbeat::new(BatchWriter::new(write_stderr)))
        };
        let json = options.json.then(json);
        Self { json, progress, stdout, options, wording, places: Places::default(), skipped: AtomicUsize::new(0) }
    }

    /// Names failures in the summary by the lines of their lists.
    pub fn set_places(&mut self, places: Places) {
        self.places = places;
    }

    /// Removes the bars and discards later JSON records, except the summary.
    pub fn end_progress(&self) {
        match &self.progress {
            Progress::Bars(bars) => bars.stop(),
            Progress::Lines(lines) => lines.stop(),
        }
        if let Some(json) = &self.json {
            json.end_events();
        }
    }

    /// Returns the first error of writing to standard output.
    pub fn output_error(&self) -> Option<&io::Error> {
        self.stdout.error()
    }

    /// Ends progress and writes the summary of a run, which a signal may have ended.
    pub fn write_summary(&self, summary: &Summary, is_interrupted: bool) {
        self.end_progress();
        if let Some(json) = &self.json {
            json.write_summary(summary);
        } else if self.options.verbosity != Verbosity::Failures {
            let is_interrupted_comparison = self.options.compare && summary.mode == Mode::Sequential;
            self.stdout.write(&if is_interrupted_comparison {
                summary::format_interrupted_comparison(summary, &self.places)
            } else if is_interrupted {
                summary::format_interrupted(summary, &self.places)
            } else {
                summary::format_run(summary, &self.places)
            });
        }
    }

    /// Ends progress and writes the summary of a comparison.
    pub fn write_comparison(&self, comparison: &Comparison) {
        self.end_progress();
        if let Some(json) = &self.json {
            json.write_comparison(comparison);
        } else if self.options.verbosity != Verbosity::Failures {
            self.stdout.write(&summary::format_comparison(comparison, &self.places));
        } else if comparison.differing.len() + comparison.in_one.len() > 0 {
            write_stderr(&summary::format_differences(comparison));
        }
    }

    /// Writes what a run would download. `existing` returns the origin of a target that exists.
    pub fn write_plan(&self, plan: &Plan, existing: impl Fn(&Download) -> (Target, Option<Origin>)) {
        if let Some(json) = &self.json {
            return json.write_plan(plan);
        }
        let line = |download| {
            let (target, origin) = existing(download);
            lines::format_planned(download.url(), &target, &self.options.directory, origin)
        };
        self.stdout.write_lines(plan.downloads().map(line));
    }

    fn line_for(&self, event: &Event<'_>) -> Option<String> {
        let Wording { verbosity, has_bars, .. } = self.wording;
        match event {
            Event::Planned { plan, mode, .. } if self.options.compare && verbosity != Verbosity::Failures => {
                Some(lines::format_run_start(plan, *mode))
            }
            Event::Finished(
                _,
                Finished { outcome: Outcome::Skipped(SkipReason::Exists | SkipReason::SameSource), .. },
            ) if verbosity == Verbosity::Normal && !has_bars => match self.skipped.fetch_add(1, Ordering::Relaxed) {
                0..MAX_SKIPPED => lines::format_event(event, self.wording),
                MAX_SKIPPED => Some(lines::format_more_skipped(MAX_SKIPPED)),
                _ => None,
            },
            Event::Invalid { place, problem, .. } => {
                Some(lines::format_invalid(self.places.format(*place).as_deref(), problem, self.wording.style))
            }
            event => lines::format_event(event, self.wording),
        }
    }
}

impl Drop for TerminalReporter {
    fn drop(&mut self) {
        // Prints the lines that wait for the next redraw of the bars.
        self.end_progress();
    }
}

impl Reporter for TerminalReporter {
    fn event(&self, event: &Event<'_>) {
        if let Some(json) = &self.json {
            match event {
                Event::Invalid { place, problem, .. } => {
                    json.write_invalid(self.places.format(*place).as_deref(), problem);
                }
                event => json.write_event(event),
            }
        }
        if let (Progress::Lines(lines), Event::Planned { .. }) = (&self.progress, event) {
            lines.start(self.wording.style, self.wording.verbosity != Verbosity::Failures);
        }
        let line = self.line_for(event);
        match &self.progress {
            Progress::Bars(bars) => bars.update(event, line),
            Progress::Lines(lines) => lines.update(event, line.as_deref()),
        }
    }
}
