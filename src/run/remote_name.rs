//! The server's name for a file, with `--remote-name`: chosen as soon as the response's headers are there, so that the
//! body of a file that is to be skipped is never received.

use super::claimed_names::ClaimedName;
use super::existing::{Decision, decide};
use super::locate::{find_own, origin};
use super::outcome::{SkipReason, Unfinished};
use super::session::Session;
use super::sink::{Destination, Sink};
use super::transfer::Transfer;
use crate::http::{Reply, Validator};
use crate::options::IfExists;
use crate::part::{self, CommitMode, PartFile};
use crate::plan::{Download, Origin, SafeName, Target};
use crate::url::{WebUrl, percent_decode};

/// Chooses the name that a response leads to, if the server names the file. `part` is what the response continues.
///
/// A 206 need not repeat the name, and a 416 has none, so that of the first response counts as well.
pub fn choose_remote_name(
    transfer: &mut Transfer<'_>,
    session: &Session<'_>,
    reply: &Reply<'_>,
    part: Option<&PartFile>,
) {
    if !session.is_named_by_server(transfer.download) {
        return;
    }
    let first = || part.and_then(PartFile::sidecar).and_then(|sidecar| sidecar.validator);
    let name = match reply {
        Reply::NotModified => return,
        Reply::AlreadyComplete => first_name(first()).unwrap_or_else(|| name_of_url(&transfer.source().url)),
        Reply::Response(response) => {
            let first = || first().filter(|_| response.is_partial());
            let suggested = response.file_name().or_else(|| first()?.file_name().map(str::to_owned));
            suggested.map_or_else(|| name_of_url(response.effective_url()), |name| SafeName::from_server(&name))
        }
    };
    // In the directory that the list or the layout puts it into.
    let wanted = transfer.download.target().with_name(&name);
    // A retry keeps the number that it has.
    if transfer.remote_name.as_ref().is_none_or(|claimed| *claimed.wanted() != wanted) {
        transfer.remote_name = Some(claim(wanted, transfer.download, session));
    }
}

/// Claims the name of the file that an earlier run fetched for a download, or else the first that is not another's.
fn claim(wanted: Target, download: &Download, session: &Session<'_>) -> ClaimedName {
    let (plan, names, output) = (session.plan, &session.claimed_names, session.output);
    if let Ok(Some(own)) = find_own(&wanted, &output.directory, download, plan)
        && names.try_claim(&own, download, plan)
    {
        return ClaimedName::of_existing(own);
    }
    let mut name = names.claim(wanted, download, plan);
    let keeps_existing = matches!(output.if_exists, IfExists::Skip | IfExists::Update);
    let is_foreign = |name: &ClaimedName| {
        let state = part::target_state(&name.target().path_in(&output.directory));
        state.is_ok_and(|state| matches!(origin(state, download), Some(Origin::AnotherUrl)))
    };
    // Of a list, several files may have one name. Which of them was first in an earlier run was left to chance.
    while keeps_existing && plan.len() > 1 && is_foreign(&name) {
        name = names.claim_after(name, download, plan);
    }
    name
}

/// The name that the first response led to, as far as its validator says.
fn first_name(validator: Option<Validator>) -> Option<SafeName> {
    let validator = validator?;
    match validator.file_name() {
        Some(name) => Some(SafeName::from_server(name)),
        None => WebUrl::parse(validator.effective_url()).ok().as_ref().map(name_of_url),
    }
}

/// The name in a URL that a redirect may have led to.
fn name_of_url(url: &WebUrl) -> SafeName {
    SafeName::from_server(&percent_decode(url.last_segment()))
}

/// Whether the commit may replace an existing file, if it may where the name is the planned one. A numbered name was
/// chosen to keep files apart.
pub fn commit_mode(planned: CommitMode, name: Option<&ClaimedName>) -> CommitMode {
    if name.is_some_and(ClaimedName::is_numbered) { CommitMode::NoReplace } else { planned }
}

/// Whether an existing file has the name that the server chose and is kept. Then what was received earlier is discarded.
///
/// # Errors
///
/// [`Error::Exists`] with [`IfExists::Fail`], and [`Error::NotAFile`].
pub fn keeps_existing(
    destination: &Destination<'_>,
    part: &mut Option<PartFile>,
) -> Result<Option<SkipReason>, Unfinished> {
    let Some(name) = destination.remote_name else { return Ok(None) };
    let output = destination.session.output;
    let path = name.target().path_in(&output.directory);
    let if_exists = if output.if_exists == IfExists::Update { IfExists::Skip } else { output.if_exists };
    let state = part::target_state(&path);
    match state.and_then(|state| decide(state, if_exists, &path, destination.download)) {
        Ok(Decision::Fetch { .. }) => Ok(None),
        Ok(Decision::Skip(reason)) => {
            match part.take() {
                Some(part) => part.discard(),
                None => part::remove_orphans(destination.part_path, &path),
            }
            Ok(Some(reason))
        }
        Err(failure) => Err(match part.take() {
            Some(part) => destination.keep(Sink::Part(part), failure),
            None => failure.into(),
        }),
    }
}
