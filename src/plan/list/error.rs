//! The errors in lists, whatever their format.

use std::fmt;

use crate::text::safe;

/// What is wrong with one entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListError {
    list: String,
    line: u32,
    column: Option<u32>,
    message: String,
}

impl ListError {
    /// Creates an error in `line` (from 1) of the list called `list`.
    pub(super) fn new(list: &str, line: u32, problem: Problem) -> Self {
        Self { list: list.to_owned(), line, column: problem.column, message: problem.message }
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The line, from 1.
    #[must_use]
    pub const fn line(&self) -> u32 {
        self.line
    }
}

impl std::error::Error for ListError {}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", safe(&self.list), self.line)?;
        if let Some(column) = self.column {
            write!(f, "{column}:")?;
        }
        write!(f, " {}", self.message)
    }
}

/// What is wrong, before it is known where. The message holds no text of the list that was not made safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    column: Option<u32>,
    message: String,
}

impl Problem {
    pub fn new(message: impl Into<String>) -> Self {
        Self { column: None, message: message.into() }
    }

    /// Says first what it is about.
    pub fn prefixed(self, prefix: &str) -> Self {
        Self { message: format!("{prefix}{}", self.message), ..self }
    }

    /// Adds the column, from 1.
    pub fn at_column(mut self, column: usize) -> Self {
        self.column = u32::try_from(column).ok().filter(|column| *column > 0);
        self
    }
}

/// The problem with a value that was read from a list.
pub fn bad_value(what: &str, value: &str, why: &str) -> Problem {
    const MAX_SHOWN: usize = 100;
    let shown: String = value.chars().take(MAX_SHOWN).collect();
    let more = if shown.len() < value.len() { "…" } else { "" };
    Problem::new(format!("{what} '{}{more}' {why}", safe(&shown)))
}
