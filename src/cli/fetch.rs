//! `tdl fetch`: builds the plan, and either prints it or runs it.

use std::path::Path;

use anyhow::bail;

use super::args::FetchCommand;
use super::exit::Exit;
use super::input::{Input, Lists, read_input};
use super::supervise::supervise;
use super::warnings::ListWarnings;
use crate::part::{self, TargetState};
use crate::plan::{Download, Entry, Origin, Plan};
use crate::report::TerminalReporter;
use crate::run::{Event, Listing, Reporter as _, is_taken, must_avoid};
use crate::text::safe_path;

/// Carries out a `tdl fetch` command.
pub fn fetch(command: FetchCommand) -> anyhow::Result<Exit> {
    // Only a run can begin before its list has ended.
    let reads_stdin = command.compare || command.dry_run;
    let lists = Lists { paths: &command.lists, settings: &command.list_settings, reads_stdin };
    let Input { entries, places, stdin, warnings, .. } = read_input(&command.urls, &lists)?;
    let mut reporter = TerminalReporter::new(command.display.clone());
    reporter.set_places(places);
    warnings.iter().for_each(|warning| reporter.event(&Event::Warning(warning)));
    let plan = make_plan(entries, &command);
    let warnings = ListWarnings::new(&plan, &command.options, |warning| reporter.event(&Event::Warning(warning)));
    let directory = &command.options.output.directory;
    if command.dry_run {
        let listing = Listing::read(&plan, directory);
        reporter.write_plan(&plan, |download| {
            let may_exist = listing.has_target(download.id()) != Some(false);
            may_exist.then(|| origin(download, &download.target().path_in(directory))).flatten()
        });
        return Ok(Exit::Success.check_output(&reporter));
    }
    if command.compare {
        refuse_existing(&plan, directory)?;
    }
    supervise(plan, stdin, command, warnings, reporter)
}

fn make_plan(mut entries: Vec<Entry>, command: &FetchCommand) -> Plan {
    let exists = |target: &_| must_avoid(target, &command.options.output);
    match &command.output_name {
        // `FetchArgs::resolve` accepts a name only with a single URL.
        Some(name) => Plan::new([entries.swap_remove(0).with_target(name.clone())], exists),
        None => Plan::new(entries, exists),
    }
}

/// The origin of what exists at a download's target; `None` if nothing does.
fn origin(download: &Download, target: &Path) -> Option<Origin> {
    match part::target_state(target) {
        Ok(TargetState::Occupied { source, .. }) => Some(Origin::of(source, download.sources())),
        Ok(TargetState::NotAFile) => Some(Origin::Unknown),
        Ok(TargetState::Free) | Err(_) => None,
    }
}

fn refuse_existing(plan: &Plan, directory: &Path) -> anyhow::Result<()> {
    match plan.downloads().map(|download| download.target().path_in(directory)).find(|path| is_taken(path)) {
        Some(path) => {
            bail!("{} already exists; --compare downloads everything, so give it an empty -o DIR", safe_path(&path))
        }
        None => Ok(()),
    }
}
