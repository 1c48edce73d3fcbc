//! Finds the file that an earlier run fetched for a download. A list that has become longer or shorter may give it
//! another name now; the mark of its source tells whose it is.

use std::path::Path;

use super::session::Session;
use super::transfer::Transfer;
use crate::error::Error;
use crate::options::IfExists;
use crate::part::{self, TargetState};
use crate::plan::{Download, Origin, Target};

/// How many numbered names are looked at. A file beyond them is fetched again.
const MAX_NUMBER: usize = 1000;

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
    let keeps_existing = matches!(output.if_exists, IfExists::Skip | IfExists::Update);
    let origin = origin(state, download);
    if download.is_named() || !keeps_existing || matches!(origin, Some(Origin::SameSource | Origin::Unknown)) {
        return Ok((None, state));
    }
    if let Some(found) = own_file(download, &output.directory)? {
        let state = part::target_state(&found.path_in(&output.directory))?;
        return Ok((Some(found), state));
    }
    let is_clashing =
        || download.possible_targets().first() != Some(planned) || session.plan.contains(&planned.numbered(2));
    if origin.is_none() || !is_clashing() {
        return Ok((None, state));
    }
    let mut number = 2;
    loop {
        let free = planned.numbered(number);
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
pub fn own_file(download: &Download, directory: &Path) -> Result<Option<Target>, Error> {
    for base in download.possible_targets() {
        if let Some(found) = find_own(&base, directory, download)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Finds the file of a download among `base` and its numbered alternatives, up to the first that does not exist.
///
/// # Errors
///
/// [`Error::Disk`] if the directory cannot be searched.
pub fn find_own(base: &Target, directory: &Path, download: &Download) -> Result<Option<Target>, Error> {
    for number in 1..=MAX_NUMBER {
        let name = if number == 1 { base.clone() } else { base.numbered(number) };
        match origin(part::target_state(&name.path_in(directory))?, download) {
            Some(Origin::SameSource) => return Ok(Some(name)),
            None if number > 1 => break,
            _ => {}
        }
    }
    Ok(None)
}

/// Whose file is there; `None` if there is nothing.
fn origin(state: TargetState, download: &Download) -> Option<Origin> {
    match state {
        TargetState::Free => None,
        TargetState::NotAFile => Some(Origin::AnotherUrl),
        TargetState::Occupied { source, .. } => Some(Origin::of(source, download.sources())),
    }
}
