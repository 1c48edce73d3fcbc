//! Progress off a terminal: a line every ten seconds in which nothing else was printed.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::batch::BatchWriter;
use super::live::Live;
use super::style::Style;
use super::view::status_line;
use crate::run::Event;

/// How long nothing must have been printed.
const SILENCE: Duration = Duration::from_secs(10);

/// How often speeds are measured.
const TICK: Duration = Duration::from_millis(500);

/// Lines about a run, and the thread that adds one where there is none.
pub struct Heartbeat {
    lines: Arc<BatchWriter>,
    live: Arc<Mutex<Live>>,
    thread: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
    silence: Duration,
}

impl Heartbeat {
    pub fn new(lines: BatchWriter) -> Self {
        Self { lines: Arc::new(lines), live: Arc::default(), thread: Mutex::default(), silence: SILENCE }
    }

    /// Starts the threads that write, unless they run; that of progress only if `has_progress`. Call it once signals are
    /// handled: one that reached them before would be lost.
    pub fn start(&self, style: Style, has_progress: bool) {
        self.lines.start_thread();
        let mut started = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if has_progress && started.is_none() {
            let (stop, stopped) = mpsc::channel();
            let (live, lines, silence) = (Arc::clone(&self.live), Arc::clone(&self.lines), self.silence);
            let beat = move || {
                while stopped.recv_timeout(TICK.min(silence)) == Err(RecvTimeoutError::Timeout) {
                    lock(&live).record_speeds(Instant::now());
                    if lines.is_silent_for(silence) {
                        lines.write_line(&format!(
                            "progress: {}",
                            status_line(&lock(&live), Instant::now(), usize::MAX, style)
                        ));
                    }
                }
            };
            // If the thread cannot start, there are only the lines about events.
            let thread = thread::Builder::new().name("tdl-heartbeat".to_owned()).spawn(beat);
            *started = thread.ok().map(|thread| (stop, thread));
        }
    }

    /// Applies an event, and writes its line.
    pub fn update(&self, event: &Event<'_>, line: Option<&str>) {
        lock(&self.live).update(event);
        line.into_iter().for_each(|line| self.lines.write_line(line));
    }

    /// Writes what has not been written. Later events are not shown.
    pub fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = thread {
            let _ = stop.send(());
            let _ = thread.join();
        }
        self.lines.flush();
    }
}

fn lock(live: &Mutex<Live>) -> MutexGuard<'_, Live> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_is_printed_there_is_a_line_of_progress() {
        let (tx, written) = mpsc::channel();
        let silence = Duration::from_millis(20);
        let lines = BatchWriter::new(move |text| drop(tx.send(text.to_owned())));
        let heartbeat = Heartbeat { silence, ..Heartbeat::new(lines) };
        heartbeat.start(Style::PLAIN, true);
        let started = Instant::now();
        assert_eq!(written.recv().unwrap(), "progress: 0/0 files | 0 B/s | 0:00\n");
        assert!(started.elapsed() >= silence);
        assert!(written.recv().unwrap().starts_with("progress: "), "and again");
        heartbeat.stop();
    }

    #[test]
    fn without_progress_there_are_only_the_lines_of_events() {
        let (tx, written) = mpsc::channel();
        let lines = BatchWriter::new(move |text| drop(tx.send(text.to_owned())));
        let heartbeat = Heartbeat { silence: Duration::ZERO, ..Heartbeat::new(lines) };
        heartbeat.start(Style::PLAIN, false);
        heartbeat.update(&Event::Warning("w"), Some("warning: w"));
        heartbeat.stop();
        drop(heartbeat);
        assert_eq!(written.iter().collect::<String>(), "warning: w\n");
    }
}
