//! `tdl fetch`: builds the plan, and either prints it or runs it.

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use anyhow::bail;

use super::args::FetchCommand;
use super::exit::Exit;
use super::input::{Input, list_url, read_input};
use super::supervise::supervise;
use crate::options::{Header, IfExists};
use crate::part::{self, TargetState};
use crate::plan::{Download, Entry, Plan, Target};
use crate::report::TerminalReporter;
use crate::run::{Event, Listing, Reporter as _};
use crate::text::safe_path;
use crate::url::WebUrl;

/// Carries out a `tdl fetch` command.
pub fn fetch(mut command: FetchCommand) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let Input { entries, places } = read_input(&command.urls, &command.lists, &command.options)?;
    let has_fetched_list = command.lists.iter().any(|path| list_url(path).is_some());
    if let (true, Some(time)) = (has_fetched_list, &mut command.options.limits.max_time) {
        // Fetching a list is a part of the run.
        *time = time.saturating_sub(started.elapsed());
    }
    let mut reporter = TerminalReporter::new(command.display.clone());
    reporter.set_places(places);
    warn_about_shared_credentials(&entries, &command, &reporter);
    let plan = make_plan(entries, &command);
    warn_about_duplicates(&plan, &reporter);
    let directory = &command.options.output.directory;
    if command.dry_run {
        let listing = Listing::read(&plan, directory);
        let exists = |download: &Download| {
            listing.has_target(download.id()).unwrap_or_else(|| is_taken(&download.target().path_in(directory)))
        };
        // Where the server names files, it is unknown which exist.
        reporter.write_plan(&plan, |download| !command.options.output.remote_name && exists(download));
        return Ok(Exit::Success.check_output(&reporter));
    }
    if command.compare {
        refuse_existing(&plan, directory)?;
    }
    supervise(plan, command, reporter)
}

/// Warns if credentials that may be meant for one server go to several: a header is sent to the origin of every URL.
fn warn_about_shared_credentials(entries: &[Entry], command: &FetchCommand, reporter: &TerminalReporter) {
    let credential = command.options.network.headers.iter().find(|header| header.is_credential());
    let Some(name) = credential.map(Header::name) else {
        return;
    };
    let urls = entries.iter().flat_map(Entry::sources).map(|source| &source.url);
    let mut origins: HashSet<_> = urls.map(WebUrl::origin).collect();
    let in_list = origins.len();
    origins.extend(command.lists.iter().filter_map(|path| Some(list_url(path)?.origin())));
    let count = origins.len();
    if count > 1 {
        let servers = if count > in_list { "servers, including that of the list" } else { "servers in the list" };
        let warning = format!("the header {name} will be sent to all {count} {servers}");
        reporter.event(&Event::Warning(&warning));
    }
}

fn warn_about_duplicates(plan: &Plan, reporter: &TerminalReporter) {
    let warning = match plan.duplicates() {
        0 => return,
        1 => "1 duplicate URL skipped".to_owned(),
        count => format!("{count} duplicate URLs skipped"),
    };
    reporter.event(&Event::Warning(&warning));
}

fn make_plan(mut entries: Vec<Entry>, command: &FetchCommand) -> Plan {
    let output = &command.options.output;
    let avoids_existing = output.if_exists == IfExists::Rename;
    let exists = |target: &Target| avoids_existing && is_taken(&target.path_in(&output.directory));
    match &command.output_name {
        // `FetchArgs::resolve` accepts a name only with a single URL.
        Some(name) => Plan::new([entries.swap_remove(0).with_target(name.clone())], exists),
        None => Plan::new(entries, exists),
    }
}

/// Whether something exists at the path. If that cannot be determined, the download itself reports why.
fn is_taken(path: &Path) -> bool {
    matches!(part::target_state(path), Ok(TargetState::Occupied(_) | TargetState::NotAFile))
}

fn refuse_existing(plan: &Plan, directory: &Path) -> anyhow::Result<()> {
    match plan.downloads().iter().map(|download| download.target().path_in(directory)).find(|path| is_taken(path)) {
        Some(path) => {
            bail!("{} already exists; --compare downloads everything, so give it an empty -o DIR", safe_path(&path))
        }
        None => Ok(()),
    }
}
