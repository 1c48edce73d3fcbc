//! What the user is warned of about a list: before a run what is known then, and during it what comes later.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use super::args::FetchCommand;
use super::input::list_url;
use crate::options::Header;
use crate::plan::{Download, Plan, Unmatched};
use crate::run::Event;
use crate::text::safe;

/// Watches a plan that may grow. Each warning is passed to a closure.
pub struct ListWarnings {
    /// The name of a credential that is sent to the origin of every URL.
    credential: Option<String>,
    /// The origins so far; `None` once their number was warned of.
    origins: Mutex<Option<HashSet<String>>>,
    /// How many duplicates were warned of.
    duplicates: usize,
    /// Whether more downloads were to come.
    grows: bool,
}

impl ListWarnings {
    /// Warns of what is known before the run. `grows` says whether more downloads will come.
    pub fn new(plan: &Plan, command: &FetchCommand, grows: bool, warn: impl Fn(&str)) -> Self {
        let credential = command.options.network.headers.iter().find(|header| header.is_credential());
        let credential = credential.map(|header| Header::name(header).to_owned());
        let mut origins = HashSet::new();
        if credential.is_some() {
            plan.downloads().for_each(|download| add_origin(download, &mut origins));
        }
        let in_list = origins.len();
        if credential.is_some() {
            origins.extend(command.lists.iter().filter_map(|path| Some(list_url(path)?.origin())));
        }
        let mut origins = Some(origins);
        if let (Some(name), Some(count)) = (&credential, origins.as_ref().map(HashSet::len).filter(|count| *count > 1))
        {
            let servers = if count > in_list { "servers, including that of the list" } else { "servers in the list" };
            warn(&format!("the header {name} will be sent to all {count} {servers}"));
            origins = None;
        }
        warn_of_duplicates(plan.duplicates(), &warn);
        if !grows {
            warn_of_sums(plan.unmatched_sums(), &warn);
        }
        Self { credential, origins: Mutex::new(origins), duplicates: plan.duplicates(), grows }
    }

    /// Warns of what an event tells.
    pub fn observe(&self, event: &Event<'_>, warn: impl Fn(&str)) {
        match event {
            // The first line of a list may have come since.
            Event::Planned { plan, is_list_open: true, .. } => self.add_origins(plan.downloads(), warn),
            Event::Added(download) => self.add_origins(std::iter::once(*download), warn),
            Event::ListEnded(plan) => {
                warn_of_duplicates(plan.duplicates() - self.duplicates, &warn);
                if self.grows {
                    warn_of_sums(plan.unmatched_sums(), warn);
                }
            }
            _ => {}
        }
    }

    fn add_origins<'d>(&self, downloads: impl Iterator<Item = &'d Download>, warn: impl Fn(&str)) {
        let Some(name) = &self.credential else { return };
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = origins.as_mut() {
            downloads.for_each(|download| add_origin(download, known));
            if known.len() > 1 {
                *origins = None;
                warn(&format!("the header {name} will be sent to every server in the list"));
            }
        }
    }
}

/// A header is sent to the origin of the first source.
fn add_origin(download: &Download, origins: &mut HashSet<String>) {
    origins.insert(download.url().origin());
}

/// Warns of checksum files and lists that do not fit each other.
fn warn_of_sums(unmatched: Option<(Unmatched, Unmatched)>, warn: impl Fn(&str)) {
    let Some((sums, files)) = unmatched else { return };
    let list = |Unmatched { count, first }: Unmatched, one: &str, many: &str| {
        let more = count.saturating_sub(first.len());
        let names = safe(&first.join(", ")).to_string();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        match count {
            0 => {}
            1 => warn(&format!("--sums: 1 {one}: {names}")),
            count => warn(&format!("--sums: {count} {many}: {names}{more}")),
        }
    };
    list(sums, "sum has no file in the list", "sums have no file in the list");
    list(files, "file has no sum", "files have no sum");
}

fn warn_of_duplicates(count: usize, warn: impl Fn(&str)) {
    match count {
        0 => {}
        1 => warn("1 duplicate URL skipped"),
        count => warn(&format!("{count} duplicate URLs skipped")),
    }
}
