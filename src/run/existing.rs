//! Decides what happens to a download whose target may exist.

use std::path::Path;
use std::time::SystemTime;

use super::outcome::SkipReason;
use crate::error::Error;
use crate::options::IfExists;
use crate::part::{CommitMode, TargetState};
use crate::plan::{Download, Origin};

/// What to do with a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Fetch {
        /// Fetch the file only if it has changed since this time.
        changed_since: Option<SystemTime>,
        commit_mode: CommitMode,
    },
    Skip(SkipReason),
}

/// Decides whether to fetch a file, given what is at its target.
///
/// # Errors
///
/// [`Error::NotAFile`], [`Error::Exists`], or [`Error::FromAnotherUrl`]: another URL's file is neither skipped nor asked
/// to be updated, because it says nothing about this one.
pub fn decide(state: TargetState, if_exists: IfExists, target: &Path, download: &Download) -> Result<Decision, Error> {
    let fetch = |commit_mode| Ok(Decision::Fetch { changed_since: None, commit_mode });
    match (state, if_exists) {
        (TargetState::Free | TargetState::Occupied { .. }, IfExists::Overwrite) => fetch(CommitMode::Replace),
        (TargetState::Free, _) | (_, IfExists::Rename) => fetch(CommitMode::NoReplace),
        (TargetState::NotAFile, _) => Err(Error::NotAFile(target.to_owned())),
        (TargetState::Occupied { .. }, IfExists::Fail) => Err(Error::Exists(target.to_owned())),
        (TargetState::Occupied { .. }, IfExists::Skip) => skip_reason(state, target, download).map(Decision::Skip),
        (TargetState::Occupied { modified, .. }, IfExists::Update) => {
            skip_reason(state, target, download)?;
            // Without a time nothing can be asked, so nothing is replaced.
            let commit_mode = if modified.is_some() { CommitMode::Replace } else { CommitMode::NoReplace };
            Ok(Decision::Fetch { changed_since: modified, commit_mode })
        }
    }
}

/// Says why a download may be skipped because of what is at its target.
///
/// # Errors
///
/// [`Error::NotAFile`] or [`Error::FromAnotherUrl`] if it may not.
pub fn skip_reason(state: TargetState, target: &Path, download: &Download) -> Result<SkipReason, Error> {
    let mark = match state {
        TargetState::NotAFile => return Err(Error::NotAFile(target.to_owned())),
        // It was there a moment ago.
        TargetState::Free => None,
        TargetState::Occupied { source, .. } => source,
    };
    match Origin::of(mark, download.sources()) {
        Origin::Unknown => Ok(SkipReason::Exists),
        Origin::SameSource => Ok(SkipReason::SameSource),
        Origin::AnotherUrl => Err(Error::FromAnotherUrl(target.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::url::WebUrl;

    /// A decision in a few words.
    fn decided(state: TargetState, if_exists: IfExists) -> String {
        let plan = Plan::new([WebUrl::parse("http://h/x").unwrap()], |_| false);
        match decide(state, if_exists, Path::new("x"), &plan[0]) {
            Ok(Decision::Fetch { changed_since, commit_mode }) => {
                let condition = if changed_since.is_some() { "if changed, " } else { "" };
                format!("{condition}{commit_mode:?}")
            }
            Ok(Decision::Skip(reason)) => format!("skip, {reason:?}"),
            Err(failure) => failure.kind().to_owned(),
        }
    }

    #[test]
    fn every_state_of_a_target_is_treated_as_requested() {
        let file = |url: Option<&str>| TargetState::Occupied {
            modified: Some(SystemTime::UNIX_EPOCH),
            source: url.map(|url| WebUrl::parse(url).unwrap().source_id()),
        };
        let timeless = TargetState::Occupied { modified: None, source: None };
        let (unknown, ours, foreign) = (file(None), file(Some("http://u@h/x")), file(Some("http://h/y")));
        let states = [TargetState::Free, unknown, ours, foreign, timeless, TargetState::NotAFile];
        let (keep, replace, update) = ("NoReplace", "Replace", "if changed, Replace");
        for (if_exists, expected) in [
            (IfExists::Skip, [keep, "skip, Exists", "skip, SameSource", "another-url", "skip, Exists", "disk"]),
            (IfExists::Update, [keep, update, update, "another-url", keep, "disk"]),
            (IfExists::Overwrite, [replace, replace, replace, replace, replace, "disk"]),
            (IfExists::Fail, [keep, "exists", "exists", "exists", "exists", "disk"]),
            (IfExists::Rename, [keep; 6]),
        ] {
            assert_eq!(states.map(|state| decided(state, if_exists)), expected, "{if_exists:?}");
        }
    }
}
