//! Draws lines at the bottom of a terminal, again and again in the same place.
//!
//! Between two drawings the cursor is on the first of the lines. So whatever happens to them when the terminal is
//! resized, wrapped or not, everything from the cursor to the end of the screen is theirs, and is cleared.

use std::fmt::Write as _;

use console::Term;

/// Clears from the cursor to the end of the screen.
const CLEAR_BELOW: &str = "\x1b[J";

/// Clears from the cursor to the end of the line.
const CLEAR_LINE: &str = "\x1b[K";

/// The lines on the terminal of standard error.
pub struct Screen {
    terminal: Term,
    size: (u16, u16),
    drawn: Vec<String>,
}

impl Screen {
    pub fn new() -> Self {
        let terminal = Term::buffered_stderr();
        Self { size: terminal.size(), terminal, drawn: Vec::new() }
    }

    /// The rows and columns that there are.
    pub fn size(&self) -> (usize, usize) {
        let (rows, columns) = self.terminal.size();
        (usize::from(rows), usize::from(columns))
    }

    /// Prints `text`, which ends with a line feed unless it is empty, above the lines, and draws these below it. They
    /// must be fewer than the terminal has rows, and each shorter than it is wide.
    pub fn draw(&mut self, text: &str, lines: Vec<String>) {
        let size = self.terminal.size();
        if text.is_empty() && lines == self.drawn && size == self.size {
            return;
        }
        // What was typed meanwhile has moved the cursor.
        let mut output = "\r".to_owned();
        if size != self.size || !text.is_empty() {
            output += CLEAR_BELOW;
        }
        output += text;
        for line in &lines {
            let _ = write!(output, "\r{line}{CLEAR_LINE}\n");
        }
        output += CLEAR_BELOW;
        if !lines.is_empty() {
            let _ = write!(output, "\r\x1b[{}A", lines.len());
        }
        (self.size, self.drawn) = (size, lines);
        let _ = self.terminal.write_str(&output);
        let _ = self.terminal.flush();
    }

    /// Prints `text`, and removes the lines.
    pub fn clear(&mut self, text: &str) {
        if !self.drawn.is_empty() || !text.is_empty() {
            self.draw(text, Vec::new());
        }
    }
}
