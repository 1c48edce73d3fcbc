//! Progress on a terminal: a first line for the run, and below it a bar for each running download, as many as fit.
//! A thread draws ten times a second from counters that the transfers keep anyway, so nothing waits for the terminal.

use std::collections::VecDeque;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::units::{size, speed, time};
use super::{is_done, to_stderr};
use crate::options::Mode;
use crate::run::{Event, Outcome, Progress};

/// How often the bars are drawn.
const PERIOD: Duration = Duration::from_millis(100);

/// The speed is that of the last so many drawings: three seconds.
const SAMPLES: usize = 30;

/// Lines of the terminal that bars leave free: the first line, and one for the cursor.
const OTHER_LINES: usize = 2;

/// On a narrower terminal there is room for words alone.
const BARS_FROM: u16 = 60;

/// The bars of a run, and the thread that draws them.
pub struct Bars {
    state: Arc<Mutex<State>>,
    drawer: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

/// What events have told.
#[derive(Default)]
struct State {
    mode: Mode,
    total: usize,
    done: usize,
    failed: usize,
    fetched: usize,
    /// Bytes of the fetched files.
    bytes: u64,
    /// Bytes that came over the network for ended downloads.
    transferred: u64,
    running: Vec<Running>,
    /// Lines that scroll by above the bars when they are next drawn.
    lines: String,
}

#[derive(Clone)]
struct Running {
    id: usize,
    name: String,
    progress: Arc<Progress>,
}

impl Bars {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (stop, stopped) = mpsc::channel();
        let drawn = Arc::clone(&state);
        let drawer = thread::Builder::new().name("tdl-bars".to_owned()).spawn(move || {
            let mut screen = Screen::new();
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                screen.draw(&drawn);
            }
            screen.clear(&drawn);
        });
        // Without the thread there are no bars; the downloads go on.
        Self { state, drawer: Mutex::new(drawer.ok().map(|thread| (stop, thread))) }
    }

    /// Takes note of an event, and of the line that tells of it.
    pub fn event(&self, event: &Event<'_>, line: Option<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Planned(plan, mode) => {
                *state = State {
                    mode: *mode,
                    total: plan.downloads().len(),
                    lines: std::mem::take(&mut state.lines),
                    ..State::default()
                };
            }
            Event::Started(download, progress) => {
                let (id, name, progress) = (download.id, download.target.to_string(), Arc::clone(progress));
                state.running.push(Running { id, name, progress });
                // The bar tells of it.
                return;
            }
            Event::Finished(download, finished) => {
                state.running.retain(|running| running.id != download.id);
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

    /// Takes the bars away, after the last lines; later events are not shown.
    pub fn finish(&self) {
        let drawer = self.drawer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = drawer {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

/// What is on the terminal.
struct Screen {
    terminal: Term,
    bars: MultiProgress,
    first: ProgressBar,
    rows: Vec<(usize, ProgressBar)>,
    /// When how many bytes had come.
    samples: VecDeque<(Instant, u64)>,
    /// The width for which the styles are.
    columns: u16,
    with_bar: ProgressStyle,
    without_bar: ProgressStyle,
}

impl Screen {
    fn new() -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let first = bars.add(ProgressBar::new_spinner().with_style(style("{wide_msg}")));
        Self {
            terminal: Term::stderr(),
            bars,
            first,
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
            let message = self.first_line(&state);
            (std::mem::take(&mut state.lines), state.running.clone(), message)
        };
        if !lines.is_empty() {
            self.bars.suspend(|| to_stderr(&lines));
        }
        self.first.set_message(message);
        let (lines, columns) = self.terminal.size();
        if columns != self.columns {
            self.columns = columns;
            self.with_bar = style(&format!("  {{prefix:{}!}} {{wide_bar}} {{msg:>21}}", columns.clamp(60, 180) / 3));
            self.with_bar = self.with_bar.clone().progress_chars("━╸─");
        }
        let room = usize::from(lines).saturating_sub(OTHER_LINES);
        self.drop_rows(&running, room);
        for running in &running {
            self.draw_row(running, room);
        }
    }

    /// Takes away the rows of downloads that have ended, and those that fit no more.
    fn drop_rows(&mut self, running: &[Running], room: usize) {
        let bars = &self.bars;
        let mut kept = 0;
        self.rows.retain(|(id, bar)| {
            let keep = kept < room && running.iter().any(|running| running.id == *id);
            kept += usize::from(keep);
            if !keep {
                bars.remove(bar);
            }
            keep
        });
    }

    fn draw_row(&mut self, running: &Running, room: usize) {
        let row = self.rows.iter().find(|(id, _)| *id == running.id);
        let bar = match row {
            Some((_, bar)) => bar,
            None if self.rows.len() < room => {
                let bar = ProgressBar::no_length().with_prefix(running.name.clone());
                self.rows.push((running.id, self.bars.add(bar)));
                &self.rows[self.rows.len() - 1].1
            }
            None => return,
        };
        let received = running.progress.received();
        let length = running.progress.length();
        let amount = match length {
            Some(length) => format!("{} of {}", size(received), size(length)),
            None if received == 0 => "waiting".to_owned(),
            None => size(received),
        };
        match length.filter(|_| self.columns >= BARS_FROM) {
            Some(length) => {
                bar.set_style(self.with_bar.clone());
                // The message first: each of these may draw, and the last message was for the other style.
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

    /// Files done, failed and left, bytes, speed and the time to go.
    fn first_line(&mut self, state: &State) -> String {
        let received = state.bytes + state.running.iter().map(|running| running.progress.received()).sum::<u64>();
        let transferred =
            state.transferred + state.running.iter().map(|running| running.progress.transferred()).sum::<u64>();
        self.samples.push_back((Instant::now(), transferred));
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        let (bytes, period) = match (self.samples.front(), self.samples.back()) {
            (Some((from, before)), Some((to, now))) => (now.saturating_sub(*before), to.duration_since(*from)),
            _ => (0, Duration::ZERO),
        };
        let left = state.total.saturating_sub(state.done + state.failed);
        let failed = if state.failed > 0 { format!(", {} failed", state.failed) } else { String::new() };
        let to_go = time_to_go(state, bytes, period)
            .map_or_else(String::new, |to_go| format!("  about {} to go", time(to_go).replace(".00 s", " s")));
        let mode = match state.mode {
            Mode::Concurrent => "",
            Mode::Sequential => "one after another: ",
        };
        let done = state.done;
        format!("{mode}{done} done{failed}, {left} left  {}  {}{to_go}", size(received), speed(bytes, period))
    }

    fn clear(&mut self, state: &Mutex<State>) {
        let _ = self.bars.clear();
        let lines = std::mem::take(&mut state.lock().unwrap_or_else(PoisonError::into_inner).lines);
        to_stderr(&lines);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// An estimate: what running downloads lack, and for each that has not begun the mean of the lengths known so far,
/// at the present speed; in whole seconds.
fn time_to_go(state: &State, bytes: u64, period: Duration) -> Option<Duration> {
    let lengths = || state.running.iter().filter_map(|running| running.progress.length()).map(|length| length as f64);
    let known = state.fetched + lengths().count();
    if bytes == 0 || known == 0 {
        return None;
    }
    let mean = (state.bytes as f64 + lengths().sum::<f64>()) / known as f64;
    let waiting = state.total.saturating_sub(state.done + state.failed + state.running.len());
    let lacking = |running: &Running| {
        let length = running.progress.length().map_or(mean, |length| length as f64);
        (length - running.progress.received() as f64).max(0.0)
    };
    let left = state.running.iter().map(lacking).sum::<f64>() + mean * waiting as f64;
    let seconds = left / bytes as f64 * period.as_secs_f64();
    // Beyond what a time can hold it is no use to know.
    Duration::try_from_secs_f64(seconds.ceil()).ok()
}
