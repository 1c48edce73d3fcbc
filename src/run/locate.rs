//! Finds the file that an earlier run fetched for a download. A list that has become longer or shorter may give it
//! another name now; the mark of its source tells whose it is.

use std::path::Path;

use super::session::Session;
use super::transfer::Transfer;
use crate::error::Error;
use crate::options::IfExists;
use crate::part::{self, TargetState};
use crate::plan::{Download, Origin, Owner, Plan, Source, Target};

/// How many numbered names are looked at. A file beyond them is fetched again.
const MAX_NUMBER: usize = 1000;

/// After so many numbers in a row without a file, there are no more. A download that failed leaves a gap.
const MAX_GAP: usize = 8;

/// Finds the name that the file of a download has or will have, and returns what is there now.
///
/// That is the planned target, unless the list left the choice to tdl and an earlier run chose differently: then it is
/// the name of the file that came from one of the download's sources. If several downloads want a name that is another
/// URL's file, it is the next free one.
///
/// # Errors
///
/// [`Error::Disk`] if the directory cannot be searched.
pub fn locate(transfer: &mut Transfer<'_>, session: &Session<'_>) -> Result<TargetState, Error> {
    let is_first = transfer.attempts == 0;
    if is_first && session.output_was_empty || session.is_named_by_server(transfer.download) {
        return Ok(TargetState::Free);
    }
    if !is_first {
        return part::target_state(&transfer.target().path_in(&session.output.directory));
    }
    let (located, state) = search(transfer.download, session)?;
    transfer.located = located;
    Ok(state)
}

/// Returns the name where it is not the planned one, and what is there.
fn search(download: &Download, session: &Session<'_>) -> Result<(Option<Target>, TargetState), Error> {
    let output = session.output;
    let planned = download.target();
    let state = part::target_state(&planned.path_in(&output.directory))?;
    let origin = origin(state, download);
    let is_planned = matches!(origin, Some(Origin::SameSource | Origin::Unknown));
    if download.is_named() || output.if_exists == IfExists::Rename || is_planned {
        return Ok((None, state));
    }
    if let Some(found) = own_file(download, session.plan, &output.directory)? {
        let state = part::target_state(&found.path_in(&output.directory))?;
        return Ok((Some(found), state));
    }
    let bases = download.possible_targets();
    let Some(base) = bases.iter().rev().find(|base| planned.is_alternative_of(base)) else { return Ok((None, state)) };
    let is_clashing = || bases.first() != Some(planned) || session.plan.contains(&base.numbered(2));
    let keeps_existing = matches!(output.if_exists, IfExists::Skip | IfExists::Update);
    if origin.is_none() || !keeps_existing || !is_clashing() {
        return Ok((None, state));
    }
    let mut number = 2;
    loop {
        let free = base.numbered(number);
        let state = part::target_state(&free.path_in(&output.directory))?;
        if state == TargetState::Free && session.claimed_names.try_claim(&free, download, session.plan) {
            return Ok((Some(free), state));
        }
        number += 1;
    }
}

/// Finds the file that an earlier run fetched for a download whose list leaves the name to tdl.
///
/// # Errors
///
/// [`Error::Disk`] if the directory cannot be searched.
pub fn own_file(download: &Download, plan: &Plan, directory: &Path) -> Result<Option<Target>, Error> {
    for base in download.possible_targets() {
        if let Some(found) = find_own(&base, directory, download, plan)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Finds the file of a download among `base` and its numbered alternatives. The target of another download from the same
/// URL is that one's file.
///
/// # Errors
///
/// [`Error::Disk`] if the directory cannot be searched.
pub fn find_own(base: &Target, directory: &Path, download: &Download, plan: &Plan) -> Result<Option<Target>, Error> {
    let mut gap = 0;
    for number in 1..=MAX_NUMBER {
        let name = if number == 1 { base.clone() } else { base.numbered(number) };
        match origin(part::target_state(&name.path_in(directory))?, download) {
            Some(Origin::SameSource) if !belongs_to_another(&name, download, plan) => return Ok(Some(name)),
            Some(_) => gap = 0,
            None if gap == MAX_GAP => break,
            None => gap += 1,
        }
    }
    Ok(None)
}

/// Whether a name is the target of another download from one of the same sources.
fn belongs_to_another(name: &Target, download: &Download, plan: &Plan) -> bool {
    let Some(Owner::OfTarget(other)) = plan.owner_of(name.as_str()) else { return false };
    let is_same = |source: &Source| download.sources().iter().any(|own| own.url.source_id() == source.url.source_id());
    other != download.id() && plan[other].sources().iter().any(is_same)
}

/// Whose file is there; `None` if there is nothing.
pub fn origin(state: TargetState, download: &Download) -> Option<Origin> {
    match state {
        TargetState::Free => None,
        TargetState::NotAFile => Some(Origin::AnotherUrl),
        TargetState::Occupied { source, .. } => Some(Origin::of(source, download.sources())),
    }
}
