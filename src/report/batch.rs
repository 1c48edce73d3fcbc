//! [`BatchWriter`]: writes lines at most twenty times a second.
//!
//! A system call for each line takes longer than making the line: with files of 4 KiB from the same machine, half of
//! what it costs to report them (measured). A line that comes alone is written at once.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The least time between two writes.
const INTERVAL: Duration = Duration::from_millis(50);

/// From this many bytes on, lines are written without waiting. Whoever adds one then waits for a slow reader.
const MAX_BATCH: usize = 64 * 1024;

/// Collects lines, and writes those of the last moments together.
pub struct BatchWriter {
    shared: Arc<Shared>,
    /// Whether there is a thread that writes what nothing else does. If not, each line is written at once.
    has_thread: OnceLock<bool>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    write: Box<dyn Fn(&str) + Send + Sync>,
}

struct State {
    text: String,
    /// The time of the last write.
    last: Option<Instant>,
    is_stopped: bool,
}

impl BatchWriter {
    /// Writes with `write`; each line at once, until the thread is started.
    pub fn new(write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let state = Mutex::new(State { text: String::new(), last: None, is_stopped: false });
        let shared = Arc::new(Shared { state, changed: Condvar::new(), write: Box::new(write) });
        Self { shared, has_thread: OnceLock::new() }
    }

    /// Starts the thread that writes what has waited long enough, unless it runs. Call it once signals are handled: one
    /// that reached this thread before would be lost.
    pub fn start_thread(&self) {
        self.has_thread.get_or_init(|| {
            // Silence is counted from here, but the first line need not wait.
            let now = Instant::now();
            self.shared.lock().last.get_or_insert_with(|| now.checked_sub(INTERVAL).unwrap_or(now));
            let shared = Arc::clone(&self.shared);
            thread::Builder::new().name("tdl-lines".to_owned()).spawn(move || shared.flush_regularly()).is_ok()
        });
    }

    /// Writes a line, soon.
    pub fn write_line(&self, line: &str) {
        let mut state = self.shared.lock();
        let was_empty = state.text.is_empty();
        state.text += line;
        state.text.push('\n');
        let is_due = state.last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if is_due || state.text.len() >= MAX_BATCH || self.has_thread.get() != Some(&true) {
            self.shared.flush(&mut state);
        } else if was_empty {
            self.shared.changed.notify_one();
        }
    }

    /// Whether nothing has been written for this long, since the thread was started at least.
    pub fn is_silent_for(&self, time: Duration) -> bool {
        self.shared.lock().last.is_some_and(|last| last.elapsed() >= time)
    }

    /// Writes what has not been written yet.
    pub fn flush(&self) {
        self.shared.flush(&mut self.shared.lock());
    }
}

impl Drop for BatchWriter {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        self.shared.flush(&mut state);
        state.is_stopped = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn flush_regularly(&self) {
        let mut state = self.lock();
        while !state.is_stopped {
            let age = state.last.map_or(INTERVAL, |last| last.elapsed());
            state = if state.text.is_empty() {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else if age < INTERVAL {
                self.changed.wait_timeout(state, INTERVAL - age).unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.flush(&mut state);
                state
            };
        }
    }

    /// Writes while locked, so that lines stay in order.
    fn flush(&self, state: &mut State) {
        if !state.text.is_empty() {
            (self.write)(&state.text);
            state.text.clear();
            state.last = Some(Instant::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn writer() -> (BatchWriter, Receiver<String>) {
        let (tx, rx) = channel();
        let writer = BatchWriter::new(move |text| tx.send(text.to_owned()).unwrap());
        writer.start_thread();
        (writer, rx)
    }

    #[test]
    fn a_line_that_comes_alone_is_written_at_once() {
        let (writer, written) = writer();
        writer.write_line("one");
        assert_eq!(written.try_recv().as_deref(), Ok("one\n"));
    }

    #[test]
    fn lines_that_follow_each_other_are_written_together_and_in_order() {
        let (writer, written) = writer();
        (0..10_000).for_each(|number| writer.write_line(&number.to_string()));
        // Without any further line.
        let mut all = String::new();
        let mut writes = 0;
        while !all.ends_with("9999\n") {
            all += &written.recv().unwrap();
            writes += 1;
        }
        let expected: String = (0..10_000).map(|number| format!("{number}\n")).collect();
        assert_eq!(all, expected);
        assert!(writes < 1000, "{writes}");
    }

    #[test]
    fn what_waits_is_written_when_asked_for_and_in_the_end() {
        let (writer, written) = writer();
        let all = |written: &Receiver<String>| written.try_iter().collect::<String>();
        writer.write_line("a");
        writer.write_line("b");
        writer.flush();
        assert_eq!(all(&written), "a\nb\n");
        writer.write_line("c");
        drop(writer);
        assert_eq!(all(&written), "c\n");
    }
}
