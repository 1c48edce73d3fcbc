//! Writes to standard output and standard error. Only the bars and clap write there directly.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use super::style::{Style, Tone};

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

/// Writes what kept the command from its work, an error in each line, as clap writes its own.
pub fn write_error(text: &str) {
    let error = stderr_style().paint(Tone::Error, "error:");
    let lines: String = text.lines().map(|line| format!("{error} {line}\n")).collect();
    write_stderr(&lines);
}

/// How text looks on standard error.
pub fn stderr_style() -> Style {
    Style::new(io::stderr().is_terminal(), |name| env::var(name).ok())
}

/// Whether standard output is a terminal.
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard error is a terminal with a movable cursor.
pub fn can_draw() -> bool {
    io::stderr().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}
