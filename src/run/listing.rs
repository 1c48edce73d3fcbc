//! What is in the output directory before the first request, read at once: asking for each of a million names takes four
//! times as long, and a run looks for six names beside each file that is there already.

use std::fs;
use std::io;
use std::path::Path;

use crate::plan::{Owner, Plan};

/// For a shorter list the files are looked for one by one.
const MIN_DOWNLOADS: usize = 1000;

/// A directory with more entries for each download of the plan is not read to its end, which could take longer than
/// looking for each file.
const MAX_ENTRIES_PER_DOWNLOAD: usize = 4;

/// What was found of each download. It may have changed since.
#[derive(Debug)]
pub struct Listing(Option<Vec<Found>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    /// `None` if not known.
    target: Option<bool>,
    may_have_leftovers: bool,
}

impl Listing {
    /// Reads the directory. If it cannot be read or has too many entries, nothing is known.
    pub fn read(plan: &Plan, directory: &Path) -> Self {
        if plan.len() < MIN_DOWNLOADS {
            return Self(None);
        }
        let entries = match fs::read_dir(directory) {
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => return Self(None),
        };
        let names = entries.into_iter().flatten().map(|entry| Some(entry.ok()?.file_name()));
        Self(find_all(plan, names.map(|name| Some(name?.to_string_lossy().into_owned()))))
    }

    /// A listing that knows nothing.
    pub const fn unknown() -> Self {
        Self(None)
    }

    /// Whether the target of a download exists; `None` if not known, as of a download that was added later.
    #[cfg(any(feature = "cli", test))]
    pub fn has_target(&self, id: usize) -> Option<bool> {
        self.0.as_ref()?.get(id)?.target
    }

    /// Whether there may be something beside the target of a download that an earlier run has left.
    pub fn may_have_leftovers(&self, id: usize) -> bool {
        self.0.as_ref().and_then(|found| found.get(id)).is_none_or(|found| found.may_have_leftovers)
    }
}

/// Finds the downloads that files belong to. Returns `None` if there are too many files or one has no name.
fn find_all(plan: &Plan, names: impl Iterator<Item = Option<String>>) -> Option<Vec<Found>> {
    let mut found = vec![Found { target: Some(false), may_have_leftovers: false }; plan.len()];
    let mut has_unknown_form = false;
    for (index, name) in names.enumerate() {
        if index >= found.len().saturating_mul(MAX_ENTRIES_PER_DOWNLOAD) {
            return None;
        }
        let name = name?;
        match plan.owner_of(&name) {
            Some(Owner::OfTarget(id)) if plan[id].target().as_str() == name => found[id].target = Some(true),
            // Whether they are the same depends on the file system. On most they are not, and both may be there.
            Some(Owner::OfTarget(id)) => found[id].target = found[id].target.filter(|exists| *exists),
            Some(Owner::OfLeftover(id)) => found[id].may_have_leftovers = true,
            None => has_unknown_form |= !name.is_ascii(),
        }
    }
    if has_unknown_form {
        // Some file systems store a letter with an accent in another form than they were given.
        for (found, download) in found.iter_mut().zip(plan.downloads()) {
            if !download.target().as_str().is_ascii() {
                found.target = found.target.filter(|exists| *exists);
                found.may_have_leftovers = true;
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::WebUrl;

    fn found(names: &[&str]) -> Option<Vec<(Option<bool>, bool)>> {
        let urls = ["http://h/a", "http://h/b", "http://h/%C3%A9"].map(|url| WebUrl::parse(url).unwrap());
        let names = names.iter().map(|name| Some((*name).to_owned()));
        let found = find_all(&Plan::new(urls, |_| false), names)?;
        Some(found.iter().map(|found| (found.target, found.may_have_leftovers)).collect())
    }

    #[test]
    fn what_was_not_listed_is_not_there() {
        let absent = (Some(false), false);
        assert_eq!(found(&[]), Some(vec![absent; 3]));
        assert_eq!(found(&["b", "x", "b.part"]), Some(vec![absent, (Some(true), true), absent]));
        assert_eq!(found(&["a.part.json", "é"]), Some(vec![(Some(false), true), absent, (Some(true), false)]));
    }

    #[test]
    fn a_name_with_an_accent_may_be_there_in_another_form() {
        let decomposed = "e\u{301}";
        assert_eq!(found(&["a", decomposed]).unwrap(), [(Some(true), false), (Some(false), false), (None, true)]);
        assert_eq!(found(&["é", decomposed]).unwrap()[2], (Some(true), true));
        assert_eq!(found(&[&format!("{decomposed}.part")]).unwrap()[2], (None, true));
    }

    #[test]
    fn a_name_in_another_case_may_be_the_same_file() {
        assert_eq!(found(&["A", "B", "b"]).unwrap()[..2], [(None, false), (Some(true), false)]);
        assert_eq!(found(&["b", "B"]).unwrap()[1], (Some(true), false));
        assert_eq!(found(&["A.part"]).unwrap()[0], (Some(false), true));
    }

    #[test]
    fn a_directory_with_many_other_files_is_not_read() {
        let names: Vec<_> = (0..13).map(|number| number.to_string()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert!(found(&names[..12]).is_some());
        assert_eq!(found(&names), None);
    }

    #[test]
    fn a_missing_directory_has_no_files_and_a_short_list_is_not_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let urls = |count: usize| (0..count).map(|number| WebUrl::parse(&format!("http://h/{number}")).unwrap());
        let long = Plan::new(urls(MIN_DOWNLOADS), |_| false);
        let missing = Listing::read(&long, &dir.path().join("missing"));
        assert_eq!((missing.has_target(7), missing.may_have_leftovers(7)), (Some(false), false));
        fs::write(dir.path().join("7"), b"").unwrap();
        fs::write(dir.path().join("8.part"), b"").unwrap();
        let there = Listing::read(&long, dir.path());
        assert_eq!(
            [7, 8].map(|id| (there.has_target(id), there.may_have_leftovers(id))),
            [(Some(true), false), (Some(false), true)]
        );
        let short = Listing::read(&Plan::new(urls(8), |_| false), dir.path());
        assert_eq!((short.has_target(7), short.may_have_leftovers(7)), (None, true));
    }
}
