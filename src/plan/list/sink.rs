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

/// What is remembered of a list, to say it once.
#[derive(Debug, Default)]
pub struct Notes {
    /// The kinds of warnings that were given already.
    warned: BTreeSet<&'static str>,
    /// The options that are ignored.
    ignored: BTreeSet<String>,
}

/// Takes what the parsers of one list find.
pub struct Sink<'a> {
    pub list: &'a str,
    /// The place of the line before the first.
    pub start: u32,
    pub notes: &'a mut Notes,
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
    pub fn warn(&mut self, kind: &'static str, message: &str) {
        if self.notes.warned.insert(kind) {
            (self.take)(Parsed::Warning(format!("{}: {message}", crate::text::safe(self.list))));
        }
    }

    /// Notes an option that tdl has none like. [`end`](Self::end) names them all.
    pub fn ignore_option(&mut self, key: &str) {
        const MAX_NAMED: usize = 50;
        if self.notes.ignored.len() < MAX_NAMED && !self.notes.ignored.contains(key) {
            self.notes.ignored.insert(key.to_owned());
        }
    }

    /// Ends the list.
    pub fn end(&mut self) {
        let ignored = std::mem::take(&mut self.notes.ignored);
        if !ignored.is_empty() {
            let names = ignored.into_iter().collect::<Vec<_>>().join(", ");
            self.warn("ignored options", &format!("options that tdl has none like are ignored: {names}"));
        }
    }
}
