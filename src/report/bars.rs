//! Progress on a terminal: a status line for the run, and below it a bar for each running download, as many as fit.
//! A thread draws ten times a second from counters that the downloads maintain anyway, so no download waits for the
//! terminal.

use std::collections::VecDeque;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::streams::write_stderr;
use super::units::{format_size, format_speed, format_time};
use crate::options::Mode;
use crate::run::{Event, Outcome, Progress};

/// How often the bars are redrawn.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// The speed shown is an average over this many redraws, which is three seconds.
const MAX_SAMPLES: usize = 30;

/// Terminal lines not available for bars: the status line and one for the cursor.
const RESERVED_LINES: usize = 2;

/// On a narrower terminal, only text is shown.
const MIN_BAR_COLUMNS: u16 = 60;

/// The bars of a run, and the thread that draws them.
pub struct Bars {
    state: Arc<Mutex<State>>,
    drawer: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

/// The run as known from its events. It has its own counts, because those of `RunStats` may already include a download
/// that is still in `running`, and its bytes would be counted twice.
#[derive(Default)]
struct State {
    mode: Mode,
    total: usize,
    done: usize,
    failed: usize,
    fetched: usize,
    /// Bytes of the fetched files.
    bytes: u64,
    /// Bytes received over the network for finished downloads.
    transferred: u64,
    running: Vec<Running>,
    /// Lines to print above the bars at the next redraw.
    lines: String,
}

#[derive(Clone)]
struct Running {
    id: usize,
    name: String,
    progress: Arc<Progress>,
}

impl Bars {
    /// Starts the thread that draws.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (stop, stopped) = mpsc::channel();
        let drawn_state = Arc::clone(&state);
        let drawer = thread::Builder::new().name("tdl-bars".to_owned()).spawn(move || {
            let mut screen = Screen::new();
            while stopped.recv_timeout(DRAW_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                screen.draw(&drawn_state);
            }
            screen.clear(&drawn_state);
        });
        // If the thread cannot start, the run continues without bars.
        Self { state, drawer: Mutex::new(drawer.ok().map(|thread| (stop, thread))) }
    }

    /// Applies an event, and queues its line to be printed above the bars.
    pub fn update(&self, event: &Event<'_>, line: Option<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Planned { plan, mode, .. } => {
                *state = State {
                    mode: *mode,
                    total: plan.downloads().len(),
                    lines: std::mem::take(&mut state.lines),
                    ..State::default()
                };
            }
            Event::Started(download, progress) => {
                let (id, name, progress) = (download.id(), download.target().to_string(), Arc::clone(progress));
                state.running.push(Running { id, name, progress });
            }
            Event::Finished(download, finished) => {
                state.running.retain(|running| running.id != download.id());
                state.transferred += finished.transferred;
                state.done += usize::from(is_done(&finished.outcome));
                state.failed += usize::from(matches!(finished.outcome, Outcome::Failed(_)));
                if let Outcome::Fetched(file) = &finished.outcome {
                    state.fetched += 1;
                    state.bytes += file.bytes;
                }
            }
            _ => {}
        }
        if let Some(line) = line {
            state.lines += &line;
            state.lines.push('\n');
        }
    }

    /// Prints the remaining lines and removes the bars. Later events are not shown.
    pub fn stop(&self) {
        let drawer = self.drawer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = drawer {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

/// The bars on the terminal.
struct Screen {
    terminal: Term,
    bars: MultiProgress,
    status: ProgressBar,
    rows: Vec<(usize, ProgressBar)>,
    /// The bytes received over the network at each of the last redraws.
    samples: VecDeque<(Instant, u64)>,
    /// The terminal width that the styles were made for.
    columns: u16,
    with_bar: ProgressStyle,
    without_bar: ProgressStyle,
}

impl Screen {
    fn new() -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let status = bars.add(ProgressBar::new_spinner().with_style(style("{wide_msg}")));
        Self {
            terminal: Term::stderr(),
            bars,
            status,
            rows: Vec::new(),
            samples: VecDeque::new(),
            columns: 0,
            with_bar: style("{wide_msg}"),
            without_bar: style("  {wide_msg}"),
        }
    }

    fn draw(&mut self, state: &Mutex<State>) {
        let (lines, running, message) = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            self.record_sample(&state);
            let message = self.status_line(&state);
            (std::mem::take(&mut state.lines), state.running.clone(), message)
        };
        if !lines.is_empty() {
            self.bars.suspend(|| write_stderr(&lines));
        }
        self.status.set_message(message);
        let (lines, columns) = self.terminal.size();
        if columns != self.columns {
            self.columns = columns;
            self.with_bar =
                style(&format!("  {{prefix:{}!}} {{wide_bar}} {{msg:>21}}", columns.clamp(MIN_BAR_COLUMNS, 180) / 3));
            self.with_bar = self.with_bar.clone().progress_chars("━╸─");
        }
        let max_rows = usize::from(lines).saturating_sub(RESERVED_LINES);
        self.drop_rows(&running, max_rows);
        for running in &running {
            self.draw_row(running, max_rows);
        }
    }

    /// Removes the rows of finished downloads and rows that no longer fit.
    fn drop_rows(&mut self, running: &[Running], max_rows: usize) {
        let bars = &self.bars;
        let mut kept = 0;
        self.rows.retain(|(id, bar)| {
            let keep = kept < max_rows && running.iter().any(|running| running.id == *id);
            kept += usize::from(keep);
            if !keep {
                bars.remove(bar);
            }
            keep
        });
    }

    fn draw_row(&mut self, running: &Running, max_rows: usize) {
        let row = self.rows.iter().find(|(id, _)| *id == running.id);
        let bar = match row {
            Some((_, bar)) => bar,
            None if self.rows.len() < max_rows => {
                let bar = ProgressBar::no_length().with_prefix(running.name.clone());
                self.rows.push((running.id, self.bars.add(bar)));
                &self.rows[self.rows.len() - 1].1
            }
            None => return,
        };
        let received = running.progress.received();
        let length = running.progress.length();
        let amount = match length {
            Some(length) => format!("{} of {}", format_size(received), format_size(length)),
            None if received == 0 => "waiting".to_owned(),
            None => format_size(received),
        };
        match length.filter(|_| self.columns >= MIN_BAR_COLUMNS) {
            Some(length) => {
                bar.set_style(self.with_bar.clone());
                // Set the message before the rest: each call may draw, and the old message was for the other style.
                bar.set_message(amount);
                bar.set_length(length.max(1));
            }
            None => {
                bar.set_style(self.without_bar.clone());
                bar.set_message(format!("{amount:>21}  {}", running.name));
            }
        }
        bar.set_position(received);
    }

    /// Records the bytes received over the network so far, from which the speed is computed.
    fn record_sample(&mut self, state: &State) {
        let running = state.running.iter().map(|running| running.progress.transferred()).sum::<u64>();
        self.samples.push_back((Instant::now(), state.transferred + running));
        if self.samples.len() > MAX_SAMPLES {
            self.samples.pop_front();
        }
    }

    /// Formats files done, failed and left, bytes, speed and remaining time.
    fn status_line(&self, state: &State) -> String {
        let received = state.bytes + state.running.iter().map(|running| running.progress.received()).sum::<u64>();
        let (bytes, period) = match (self.samples.front(), self.samples.back()) {
            (Some((from, before)), Some((to, now))) => (now.saturating_sub(*before), to.duration_since(*from)),
            _ => (0, Duration::ZERO),
        };
        let left = state.total.saturating_sub(state.done + state.failed);
        let failed = if state.failed > 0 { format!(", {} failed", state.failed) } else { String::new() };
        let to_go = estimate_time_left(state, bytes, period)
            .map_or_else(String::new, |time| format!("  about {} to go", format_time(time).replace(".00 s", " s")));
        let mode = match state.mode {
            Mode::Concurrent => "",
            Mode::Sequential => "one after another: ",
        };
        let done = state.done;
        format!(
            "{mode}{done} done{failed}, {left} left  {}  {}{to_go}",
            format_size(received),
            format_speed(bytes, period)
        )
    }

    fn clear(&mut self, state: &Mutex<State>) {
        let _ = self.bars.clear();
        let lines = std::mem::take(&mut state.lock().unwrap_or_else(PoisonError::into_inner).lines);
        write_stderr(&lines);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Estimates the remaining time in whole seconds, at the current speed. Counts the missing bytes of running downloads,
/// and the mean known length for each download that has not started.
fn estimate_time_left(state: &State, bytes: u64, period: Duration) -> Option<Duration> {
    let lengths = || state.running.iter().filter_map(|running| running.progress.length()).map(|length| length as f64);
    let known = state.fetched + lengths().count();
    if bytes == 0 || known == 0 {
        return None;
    }
    let mean = (state.bytes as f64 + lengths().sum::<f64>()) / known as f64;
    let waiting = state.total.saturating_sub(state.done + state.failed + state.running.len());
    let missing = |running: &Running| {
        let length = running.progress.length().map_or(mean, |length| length as f64);
        (length - running.progress.received() as f64).max(0.0)
    };
    let left = state.running.iter().map(missing).sum::<f64>() + mean * waiting as f64;
    let seconds = left / bytes as f64 * period.as_secs_f64();
    // `None` if it overflows.
    Duration::try_from_secs_f64(seconds.ceil()).ok()
}

/// Whether the status line counts a finished download as done.
const fn is_done(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Fetched(_) | Outcome::Skipped(_))
}
