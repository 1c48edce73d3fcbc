//! What the user is warned of about a list: before a run what is known then, and during it what comes later.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::options::{Header, Options};
use crate::plan::{Download, Plan};
use crate::run::Event;
use crate::url::WebUrl;

/// Watches a plan that may grow. Each warning is passed to a closure.
pub struct ListWarnings {
    /// The name of a credential that is sent to the origin of every URL.
    credential: Option<String>,
    /// The origins so far; `None` once their number was warned of.
    origins: Mutex<Option<HashSet<String>>>,
    /// How many duplicates were warned of.
    duplicates: usize,
}

impl ListWarnings {
    /// Warns of what is known before the run.
    pub fn new(plan: &Plan, options: &Options, warn: impl Fn(&str)) -> Self {
        let credential = options.network.headers.iter().find(|header| header.is_credential());
        let credential = credential.map(|header| Header::name(header).to_owned());
        let mut origins = HashSet::new();
        if credential.is_some() {
            plan.downloads().for_each(|download| add_origins(download, &mut origins));
        }
        let mut origins = Some(origins);
        if let (Some(name), Some(count)) = (&credential, origins.as_ref().map(HashSet::len).filter(|count| *count > 1))
        {
            warn(&format!("the header {name} will be sent to all {count} servers in the list"));
            origins = None;
        }
        warn_of_duplicates(plan.duplicates(), &warn);
        Self { credential, origins: Mutex::new(origins), duplicates: plan.duplicates() }
    }

    /// Warns of what an event tells.
    pub fn observe(&self, event: &Event<'_>, warn: impl Fn(&str)) {
        match event {
            // The first line of a list may have come since.
            Event::Planned { plan, is_list_open: true, .. } => self.add_origins(plan.downloads(), warn),
            Event::Added(download) => self.add_origins(std::iter::once(*download), warn),
            Event::ListEnded(plan) => warn_of_duplicates(plan.duplicates() - self.duplicates, warn),
            _ => {}
        }
    }

    fn add_origins<'d>(&self, downloads: impl Iterator<Item = &'d Download>, warn: impl Fn(&str)) {
        let Some(name) = &self.credential else { return };
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = origins.as_mut() {
            downloads.for_each(|download| add_origins(download, known));
            if known.len() > 1 {
                *origins = None;
                warn(&format!("the header {name} will be sent to every server in the list"));
            }
        }
    }
}

/// A header is sent to the origin of every URL, mirrors included.
fn add_origins(download: &Download, origins: &mut HashSet<String>) {
    origins.extend(download.sources().iter().map(|source| WebUrl::origin(&source.url)));
}

fn warn_of_duplicates(count: usize, warn: impl Fn(&str)) {
    match count {
        0 => {}
        1 => warn("1 duplicate URL skipped"),
        count => warn(&format!("{count} duplicate URLs skipped")),
    }
}
