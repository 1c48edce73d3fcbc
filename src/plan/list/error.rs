//! The errors in lists, whatever their format.

use std::fmt;

use crate::text::safe;
use crate::url::UrlError;

/// An invalid line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListError {
    list: String,
    line: u32,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    Url(UrlError),
    NotUtf8,
    Utf16,
}

impl ListError {
    /// Creates an error in `line` (from 1) of the list called `list`.
    pub(super) fn new(list: &str, line: u32, problem: Problem) -> Self {
        Self { list: list.to_owned(), line, problem }
    }
}

impl ListError {
    /// Returns what is wrong with the line, without saying which it is.
    #[must_use]
    pub fn problem(&self) -> String {
        self.problem.to_string()
    }

    /// Returns the number of the line, from 1.
    #[must_use]
    pub const fn line(&self) -> u32 {
        self.line
    }
}

impl std::error::Error for ListError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            Self::NotUtf8 => f.write_str("the line is not UTF-8 text"),
            Self::Utf16 => f.write_str("the list is UTF-16; save it as UTF-8"),
        }
    }
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", safe(&self.list), self.line, self.problem)
    }
}
