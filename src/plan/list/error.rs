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

impl std::error::Error for ListError {}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", safe(&self.list), self.line)?;
        match &self.problem {
            Problem::Url(error) => error.fmt(f),
            Problem::NotUtf8 => f.write_str("the line is not UTF-8 text"),
            Problem::Utf16 => f.write_str("the list is UTF-16; save it as UTF-8"),
        }
    }
}
