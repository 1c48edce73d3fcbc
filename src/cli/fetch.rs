//! `tdl fetch`: builds the plan, and either prints it or runs it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::bail;

use super::args::FetchCommand;
use super::exit::Exit;
use super::input::{Errors, Input, Lists, list_url, read_input};
use super::sums::read_sums;
use super::supervise::{More, supervise};
use super::warnings::ListWarnings;
use crate::options::{IfExists, Output};
use crate::part::{self, TargetState};
use crate::plan::{Download, Entry, Origin, Plan, Target};
use crate::report::{Places, TerminalReporter};
use crate::run::{Event, Listing, Reporter as _, is_taken, must_avoid, own_file};
use crate::text::safe_path;

/// Carries out a `tdl fetch` command.
pub fn fetch(mut command: FetchCommand) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let lists = Lists {
        paths: &command.lists,
        settings: &command.list_settings,
        layout: command.layout,
        // Only a run can begin before its list has ended.
        reads_stdin: command.compare || command.dry_run,
        keeps_going: command.keep_going,
        options: &command.options,
    };
    let Input { entries, places, stdin, warnings, mut invalid } = read_input(&command.urls, &lists)?;
    let mut plan = make_plan(entries, &command, &places, &mut invalid)?;
    let is_stdin = |path: &&PathBuf| path.as_os_str() == "-";
    if command.lists.iter().chain(&command.sums).filter(is_stdin).count() > 1 {
        bail!("-: standard input can be read only once");
    }
    if !command.sums.is_empty() {
        plan.set_sums(read_sums(&command.sums, &command.options)?);
    }
    let is_list_fetched = command.lists.iter().chain(&command.sums).any(|path| list_url(path).is_some());
    if let (true, Some(time)) = (is_list_fetched, &mut command.options.limits.max_time) {
        // Fetching a list is a part of the run.
        *time = time.saturating_sub(started.elapsed());
    }
    let mut reporter = TerminalReporter::new(command.display.clone());
    reporter.set_places(places);
    let warn = |warning: &str| reporter.event(&Event::Warning(warning));
    warnings.iter().for_each(|warning| warn(warning));
    let warnings = ListWarnings::new(&plan, &command, stdin.is_some(), warn);
    let directory = &command.options.output.directory;
    if command.dry_run {
        invalid.iter().for_each(|(place, problem)| reporter.event(&Event::Invalid { place: *place, problem }));
        let listing = Listing::read(&plan, directory);
        reporter.write_plan(&plan, |download| existing_file(download, &plan, &listing, &command.options.output));
        let exit = if invalid.is_empty() { Exit::Success } else { Exit::Failed };
        return Ok(exit.check_output(&reporter));
    }
    if command.compare {
        refuse_existing(&plan, directory)?;
    }
    supervise(plan, More { invalid, stdin }, command, warnings, reporter)
}

/// Makes the plan, and refuses targets that clash; or moves them to what is `invalid`, if that keeps nothing else from
/// being fetched.
fn make_plan(
    mut entries: Vec<Entry>,
    command: &FetchCommand,
    places: &Places,
    invalid: &mut Vec<(u32, String)>,
) -> anyhow::Result<Plan> {
    let exists = |target: &_| must_avoid(target, &command.options.output);
    // `FetchArgs::resolve` accepts a name only with a single URL.
    if let Some(name) = &command.output_name {
        return Ok(Plan::new([entries.swap_remove(0).with_target(name.clone())], exists));
    }
    let kept = if command.keep_going { entries.clone() } else { Vec::new() };
    let plan = Plan::new(entries, exists);
    if plan.clashes().is_empty() {
        return Ok(plan);
    }
    let (mut errors, mut refused) = (Errors::default(), HashSet::new());
    for clash in plan.clashes() {
        let (download, other) = (&plan[clash.id as usize], &plan[clash.other as usize]);
        let other = places.format(other.place()).unwrap_or_else(|| other.url().to_string());
        let problem = format!("{} {other}", clash.problem());
        let place = places.format(download.place()).unwrap_or_else(|| download.url().to_string());
        errors.add(format!("{place}: {problem}"));
        invalid.push((download.place(), problem));
        refused.insert(download.place());
    }
    if !command.keep_going {
        errors.refuse()?;
    }
    let is_kept = |entry: &Entry| !refused.contains(&entry.place());
    Ok(Plan::new(kept.into_iter().filter(is_kept), exists))
}

/// The target of a download and the origin of what exists there: of its own file, if an earlier run gave that another
/// name.
fn existing_file(download: &Download, plan: &Plan, listing: &Listing, output: &Output) -> (Target, Option<Origin>) {
    let planned = download.target().clone();
    if output.remote_name {
        // It is unknown which files exist.
        return (planned, None);
    }
    let may_exist = listing.has_target(download.id()) != Some(false);
    let found = may_exist.then(|| origin(download, &planned.path_in(&output.directory))).flatten();
    let is_own = matches!(found, Some(Origin::SameSource | Origin::Unknown));
    if is_own || output.if_exists == IfExists::Rename || download.is_named() {
        return (planned, found);
    }
    match own_file(download, plan, &output.directory) {
        Ok(Some(own)) => (own, Some(Origin::SameSource)),
        _ => (planned, found),
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
