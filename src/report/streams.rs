//! Writes to standard output and standard error. Only the bars and clap write there directly.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

/// How many bytes of lines are written at once.
const BATCH: usize = 32 * 1024;

/// Standard output, for results.
#[derive(Default)]
pub struct Stdout {
    /// The first error that is not a closed pipe.
    error: OnceLock<io::Error>,
}

impl Stdout {
    /// Writes and flushes. An error is stored for [`error`](Self::error) rather than returned, because it must not stop
    /// a download. A closed pipe, as with `| head`, is not an error.
    pub fn write(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => drop(self.error.set(error)),
            _ => {}
        }
    }

    /// Writes lines that are all known now, many at once: a system call for each takes longer than making it.
    pub fn write_lines(&self, lines: impl Iterator<Item = String>) {
        let mut text = String::with_capacity(2 * BATCH);
        for line in lines {
            text += &line;
            text.push('\n');
            if text.len() >= BATCH {
                self.write(&text);
                text.clear();
            }
        }
        self.write(&text);
    }

    /// Returns the first error, if any.
    pub fn error(&self) -> Option<&io::Error> {
        self.error.get()
    }
}

/// Writes a message to standard error. Errors are ignored: there is nowhere left to report them.
pub fn write_stderr(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether standard error is a terminal with a movable cursor.
pub fn can_draw() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
