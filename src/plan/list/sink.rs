//! Where a parser puts what it has read.

use std::collections::BTreeSet;

use super::error::{ListError, Problem};
use crate::plan::entry::Entry;

/// What a list has said.
#[derive(Debug)]
pub enum Parsed {
    /// An entry.
    Entry(Entry),
    /// What is wrong with one entry, and its [place](Entry::with_place).
    Invalid(ListError, u32),
    /// Something that the user should know about the whole list. It is said once.
    Warning(String),
}

/// Takes what the parsers of one list find.
pub struct Sink<'a> {
    pub list: &'a str,
    /// The place of the line before the first.
    pub start: u32,
    /// The warnings that were given already.
    pub warned: &'a mut BTreeSet<String>,
    pub take: &'a mut dyn FnMut(Parsed),
}

impl Sink<'_> {
    /// Takes the entry that begins in `line`, or what is wrong with it.
    pub fn put(&mut self, line: u32, entry: Result<Entry, Problem>) {
        let place = self.start.saturating_add(line);
        (self.take)(match entry {
            Ok(entry) => Parsed::Entry(entry.with_place(place)),
            Err(problem) => Parsed::Invalid(ListError::new(self.list, line, problem), place),
        });
    }

    /// Takes a warning. `kind` tells it from others: of each kind, only the first is given.
    pub fn warn(&mut self, kind: &str, message: &str) {
        if self.warned.insert(kind.to_owned()) {
            (self.take)(Parsed::Warning(format!("{}: {message}", crate::text::safe(self.list))));
        }
    }
}
