//! Progress on a terminal. A thread draws it ten times a second from counters that the downloads maintain anyway, so no
//! download waits for the terminal.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::live::Live;
use super::screen::Screen;
use super::style::Style;
use super::view::{Place, format_run};
use crate::run::Event;

/// How often the bars are redrawn.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// The lines take a third of the terminal's rows, but at least so many if it has them. If it becomes narrower, they wrap:
/// what has no room then would scroll out of reach, and stay there.
const MIN_ROWS: usize = 4;

/// The bars of a run, and the thread that draws them.
pub struct Bars {
    state: Arc<Mutex<State>>,
    drawer: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

#[derive(Default)]
struct State {
    /// `None` until the run begins.
    live: Option<Live>,
    /// Lines to print above the bars at the next redraw.
    lines: String,
}

impl Bars {
    /// Starts the thread that draws.
    pub fn start(style: Style) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (stop, stopped) = mpsc::channel();
        let drawn_state = Arc::clone(&state);
        let drawer = thread::Builder::new().name("tdl-bars".to_owned()).spawn(move || {
            let mut screen = Screen::new();
            while stopped.recv_timeout(DRAW_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                draw(&mut screen, &drawn_state, style);
            }
            screen.clear(&std::mem::take(&mut lock(&drawn_state).lines));
        });
        // If the thread cannot start, the run continues without bars.
        Self { state, drawer: Mutex::new(drawer.ok().map(|thread| (stop, thread))) }
    }

    /// Applies an event, and queues its line to be printed above the bars.
    pub fn update(&self, event: &Event<'_>, line: Option<String>) {
        let mut state = lock(&self.state);
        match event {
            Event::Planned { .. } => state.live.insert(Live::default()).update(event),
            _ => state.live.iter_mut().for_each(|live| live.update(event)),
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

fn draw(screen: &mut Screen, state: &Mutex<State>, style: Style) {
    let (rows, columns) = screen.size();
    let place = Place { rows: (rows / 3).max(MIN_ROWS).min(rows.saturating_sub(1)), columns, style };
    let (text, lines) = {
        let (mut state, now) = (lock(state), Instant::now());
        let text = std::mem::take(&mut state.lines);
        let lines = state.live.as_mut().map(|live| {
            live.record_speeds(now);
            format_run(live, now, place)
        });
        (text, lines.unwrap_or_default())
    };
    screen.draw(&text, lines);
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
