//! Turns list entries into a plan: drops duplicates, and gives each download a target of its own.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Index;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;

use super::download::Download;
use super::entry::Entry;
use super::name::{SafeName, fold_case, target_of};
use super::requests::Requests;
use super::target::Target;
use crate::url::WebUrl;

/// How many targets are packed at a time.
const BATCH: usize = 1000;

/// Every download of a run, in list order. No two share a target, even on a file system that ignores case.
///
/// A plan can grow while its downloads run: see [`add`](Self::add).
#[derive(Debug, Default)]
pub struct Plan {
    /// The downloads that were known at first.
    first: Vec<Download>,
    /// Those that were added. They keep their addresses while more are.
    later: boxcar::Vec<Download>,
    names: Mutex<Names>,
}

/// Which targets are taken, and what was asked for.
#[derive(Debug, Default)]
struct Names {
    hasher: RandomState,
    /// Finds a download by the [key](Target::key) of its target.
    by_target: HashTable<u32>,
    /// Where to continue counting when a target is taken.
    numbers: HashMap<Box<str>, usize>,
    requests: Requests,
    duplicates: usize,
}

/// Why an entry cannot be added to a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// The plan is full.
    #[error("a list can have no more than 4294967295 downloads")]
    TooMany,
}

/// The position of the download that a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The file has the name of its target, except perhaps for its case.
    OfTarget(usize),
    /// The file is what a run writes beside the target, or looks like it.
    OfLeftover(usize),
}

impl Plan {
    /// Makes a download of each entry, in order. Its target is the one that the entry has, or is named after its first
    /// URL. An entry with the same first URL and target as an earlier one is dropped as a duplicate. A target that an
    /// earlier download has becomes `name-2.ext`, and so on. (With `--if-exists rename`, a commit does the same for
    /// files that appear later.)
    ///
    /// So does a target for which `exists` returns true. That is for [`IfExists::Rename`](crate::options::IfExists),
    /// which keeps existing files; otherwise, pass `|_| false`.
    #[must_use]
    pub fn new<E: Into<Entry>>(entries: impl IntoIterator<Item = E>, exists: impl Fn(&Target) -> bool) -> Self {
        let mut entries: Vec<Entry> = entries.into_iter().map(Into::into).collect();
        let count = entries.len();
        let mut names = Names::default();
        names.requests.drop_duplicates(&mut entries);
        names.duplicates = count - entries.len();
        names.choose_targets(&mut entries, exists);
        let to_download = |Entry { target, details, place, id, .. }: Entry| {
            let target = target.unwrap_or_else(|| SafeName::from_url(details.url()).into());
            Download::new(id, place, target, details)
        };
        // Collected in place, for an entry is as large as a download: the entries of a million URLs take 46 MiB.
        let first = entries.into_iter().map(to_download).collect();
        Self { first, later: boxcar::Vec::new(), names: Mutex::new(names) }
    }

    /// Adds an entry after the others, as if it had been the last one of [`new`](Self::new). Returns its download, or
    /// `None` if it is a duplicate.
    ///
    /// # Errors
    ///
    /// [`AddError::TooMany`] if the plan is full.
    pub fn add(
        &self,
        entry: impl Into<Entry>,
        exists: impl Fn(&Target) -> bool,
    ) -> Result<Option<&Download>, AddError> {
        let Entry { target: wanted, details, place, .. } = entry.into();
        let mut names = self.names();
        let id = u32::try_from(self.len()).map_err(|_| AddError::TooMany)?;
        names.requests.index_first(&self.first);
        if !names.requests.insert(id, details.url(), wanted.as_ref(), |id| &self[id as usize]) {
            names.duplicates += 1;
            return Ok(None);
        }
        let key_of = |id: u32| self[id as usize].target().key();
        let target = names.choose_target(id, wanted, details.url(), exists, key_of);
        let index = self.later.push(Download::new(id, place, target, details));
        Ok(self.later.get(index))
    }

    /// Returns the downloads in list order.
    pub fn downloads(&self) -> impl Iterator<Item = &Download> {
        self.first.iter().chain(self.later.iter().map(|(_, download)| download))
    }

    /// Returns the download at a position; `None` if the plan has fewer. A position that is known to exist can be given
    /// as an index: `plan[id]`.
    #[must_use]
    pub fn get(&self, id: usize) -> Option<&Download> {
        match id.checked_sub(self.first.len()) {
            None => self.first.get(id),
            Some(later) => self.later.get(later),
        }
    }

    /// Returns how many downloads there are so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len() + self.later.count()
    }

    /// Whether there are no downloads yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many entries were dropped as duplicates so far.
    #[must_use]
    pub fn duplicates(&self) -> usize {
        self.names().duplicates
    }

    /// Whether a download of the plan has this target. Names of part files and sidecars need no check: no
    /// target has one.
    #[must_use]
    pub fn contains(&self, target: &Target) -> bool {
        self.with_key(&target.key()).is_some()
    }

    /// Finds the download that a file in the output directory belongs to, by its name without regard to case.
    pub(crate) fn owner_of(&self, file: &str) -> Option<Owner> {
        let key = fold_case(file);
        match target_of(&key) {
            Some(target) => self.with_key(target).map(Owner::OfLeftover),
            None => self.with_key(&key).map(Owner::OfTarget),
        }
    }

    fn with_key(&self, key: &str) -> Option<usize> {
        let Names { hasher, by_target, .. } = &*self.names();
        let has_key = |id: &u32| self[*id as usize].target().key() == key;
        by_target.find(hasher.hash_one(key), has_key).map(|id| *id as usize)
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index<usize> for Plan {
    type Output = Download;

    fn index(&self, id: usize) -> &Download {
        match id.checked_sub(self.first.len()) {
            None => &self.first[id],
            Some(later) => &self.later[later],
        }
    }
}

impl Names {
    /// Sets the target of every entry.
    fn choose_targets(&mut self, entries: &mut [Entry], exists: impl Fn(&Target) -> bool) {
        self.by_target = HashTable::with_capacity(entries.len());
        for index in 0..entries.len() {
            let wanted = entries[index].target.take();
            let Entry { id, details, .. } = &entries[index];
            let key_of = |id: u32| entries[id as usize].target.as_ref().map_or(Cow::Borrowed(""), Target::key);
            let target = self.choose_target(*id, wanted, details.url(), &exists, key_of);
            entries[index].target = Some(target);
            if (index + 1).is_multiple_of(BATCH) || index + 1 == entries.len() {
                let batch = &mut entries[index - index % BATCH..=index];
                Target::pack(batch.iter_mut().filter_map(|entry| entry.target.as_mut()));
            }
        }
    }

    /// Chooses the target of the next download, `id`: the one that its entry names, or else the name from its URL; if
    /// that is taken, a numbered one. `key_of` returns the key of an earlier download's target.
    fn choose_target<'k>(
        &mut self,
        id: u32,
        wanted: Option<Target>,
        url: &WebUrl,
        exists: impl Fn(&Target) -> bool,
        key_of: impl Fn(u32) -> Cow<'k, str>,
    ) -> Target {
        let Self { hasher, by_target, numbers, requests, .. } = self;
        let is_taken = |key: &str| by_target.find(hasher.hash_one(key), |id| key_of(*id) == key).is_some();
        let is_free = |target: &Target| !is_taken(&target.key()) && !exists(target);
        let named = wanted.clone();
        let target = first_free(wanted.unwrap_or_else(|| SafeName::from_url(url).into()), is_free, numbers);
        requests.record(id, named, &target);
        by_target.insert_unique(hasher.hash_one(&*target.key()), id, |id| hasher.hash_one(&*key_of(*id)));
        target
    }
}

/// Returns `target`, or its first numbered alternative that is free. `numbers` stores where to continue counting: without
/// it, a list in which every name is `download` takes quadratic time.
fn first_free(target: Target, is_free: impl Fn(&Target) -> bool, numbers: &mut HashMap<Box<str>, usize>) -> Target {
    if is_free(&target) {
        return target;
    }
    let number = numbers.entry(target.key().into()).or_insert(2);
    loop {
        let candidate = target.numbered(*number);
        *number += 1;
        if is_free(&candidate) {
            return candidate;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::options::Header;

    fn targets(urls: &[&str], existing: &[&str]) -> Vec<String> {
        let urls = urls.iter().map(|url| WebUrl::parse(url).unwrap());
        let plan = Plan::new(urls, |target| existing.contains(&target.as_str()));
        plan.downloads().map(|download| download.target().to_string()).collect()
    }

    #[test]
    fn urls_with_the_same_name_get_different_files() {
        assert_eq!(
            targets(&["http://a/x.gz", "http://b/x.gz", "http://c/X.GZ", "http://d/x-2.gz"], &[]),
            ["x.gz", "x-2.gz", "X-3.GZ", "x-2-2.gz"]
        );
    }

    #[test]
    fn a_part_file_name_is_never_a_target() {
        assert_eq!(targets(&["http://a/x", "http://a/x.part"], &[]), ["x", "x.part_"]);
        assert_eq!(targets(&["http://a/x.part", "http://b/x.part"], &[]), ["x.part_", "x-2.part_"]);
        assert_eq!(targets(&["http://a/x", "http://a/X.part.json"], &[]), ["x", "X.part.json_"]);
        assert_eq!(targets(&["http://a/x.part", "http://a/x.part_"], &[]), ["x.part_", "x-2.part_"]);
        assert_eq!(targets(&["http://a/ΑΣ", "http://a/ας"], &[]), ["ΑΣ", "ας-2"]);
    }

    #[test]
    fn the_same_url_is_fetched_once() {
        let urls = ["http://a/x", "http://a/x#part", "http://a/x?", "http://A/x"];
        let plan = Plan::new(urls.iter().map(|url| WebUrl::parse(url).unwrap()), |_| false);
        assert_eq!(plan.len(), 2);
        assert_eq!(plan.duplicates(), 2);
    }

    #[test]
    fn files_of_the_directory_have_an_owner() {
        let plan = Plan::new(["http://a/x.gz", "http://a/%C3%89"].map(|url| WebUrl::parse(url).unwrap()), |_| false);
        for (file, owner) in [
            ("x.gz", Some(Owner::OfTarget(0))),
            ("X.gz", Some(Owner::OfTarget(0))),
            ("é", Some(Owner::OfTarget(1))),
            ("x.gz.part", Some(Owner::OfLeftover(0))),
            ("X.gz.part.new.json", Some(Owner::OfLeftover(0))),
            ("é.part.tmp", Some(Owner::OfLeftover(1))),
            ("x.gz.bak", None),
            (".part", None),
            ("x", None),
        ] {
            assert_eq!(plan.owner_of(file), owner, "{file}");
        }
    }

    #[test]
    fn one_url_with_two_targets_is_two_downloads() {
        let entry = || Entry::from(WebUrl::parse("http://a/x").unwrap());
        let named = |name| entry().with_target(SafeName::from_user(name).unwrap());
        let plan = Plan::new([entry(), named("y"), named("z"), named("y")], |_| false);
        let targets: Vec<_> = plan.downloads().map(|download| download.target().as_str()).collect();
        assert_eq!((targets.as_slice(), plan.duplicates()), (["x", "y", "z"].as_slice(), 1));
    }

    #[test]
    fn mirrors_and_their_headers_stay_in_order() {
        let url = |url| WebUrl::parse(url).unwrap();
        let header = Header::parse("X-Key: 1").unwrap();
        let entry = Entry::from(url("http://a/x")).with_mirror(url("http://b/y")).with_header(header.clone());
        let plan = Plan::new([entry.with_length(7)], |_| false);
        let download = &plan[0];
        let [first, second] = download.sources() else { panic!("{plan:?}") };
        assert_eq!((download.url(), first.headers()), (&url("http://a/x"), [].as_slice()));
        assert_eq!((&second.url, second.headers()), (&url("http://b/y"), [header].as_slice()));
        assert_eq!((download.target().as_str(), download.expected().length), ("x", Some(7)));
    }

    #[test]
    fn names_of_existing_files_are_skipped() {
        assert_eq!(targets(&["http://a/x", "http://b/x"], &["x", "x-3"]), ["x-2", "x-4"]);
    }

    #[test]
    fn what_is_added_again_is_a_duplicate() {
        let entry = || Entry::from(WebUrl::parse("http://a/x").unwrap());
        let named = |name| entry().with_target(SafeName::from_user(name).unwrap());
        let other = || Entry::from(WebUrl::parse("http://b/x").unwrap());
        let plan = Plan::new([entry(), named("x"), named("y")], |_| false);
        let added = [entry(), other(), named("x"), other(), named("z"), named("z"), named("x-2")].map(|entry| {
            plan.add(entry, |_| false).unwrap().map(|download| (download.id(), download.target().to_string()))
        });
        let expected = [None, Some((3, "x-3")), None, None, Some((4, "z")), None, Some((5, "x-2-2"))];
        assert_eq!(added, expected.map(|added| added.map(|(id, target)| (id, target.to_owned()))));
        assert_eq!((plan.len(), plan.duplicates()), (6, 4));
    }

    #[test]
    fn an_added_download_avoids_existing_files_and_owns_its_own() {
        let plan = Plan::default();
        let added = plan.add(WebUrl::parse("http://a/x").unwrap(), |target| target.as_str() == "x").unwrap().unwrap();
        assert_eq!((added.target().as_str(), plan[0].target().as_str()), ("x-2", "x-2"));
        assert_eq!((plan.owner_of("X-2.part"), plan.owner_of("x")), (Some(Owner::OfLeftover(0)), None));
        assert!(plan.get(1).is_none());
    }

    proptest! {
        #[test]
        fn a_plan_that_grows_is_the_same_as_one_that_is_complete_at_once(
            entries in proptest::collection::vec(("[ab]", "[aAb]{0,2}(\\.part|-2|-3)?", proptest::option::of("[aAb](-2)?")), 0..40),
            known in 0usize..40,
        ) {
            let entries: Vec<Entry> = entries.iter().map(|(host, tail, name)| {
                let entry = Entry::from(WebUrl::parse(&format!("http://{host}/{tail}")).unwrap());
                match name {
                    Some(name) => entry.with_target(SafeName::from_user(name).unwrap()),
                    None => entry,
                }
            }).collect();
            let complete = Plan::new(entries.clone(), |target| target.as_str() == "b");
            let (first, later) = entries.split_at(known.min(entries.len()));
            let growing = Plan::new(first.to_vec(), |target| target.as_str() == "b");
            for entry in later {
                growing.add(entry.clone(), |target| target.as_str() == "b").unwrap();
            }
            let downloads = |plan: &Plan| -> Vec<_> {
                plan.downloads().map(|download| (download.id(), download.url().clone(), download.target().clone())).collect()
            };
            prop_assert_eq!(downloads(&growing), downloads(&complete));
            prop_assert_eq!(growing.duplicates(), complete.duplicates());
        }

        #[test]
        fn no_two_targets_of_a_plan_are_equal(tails in proptest::collection::vec("[aAbB%0-9éÉ]{0,3}(\\.part|\\.json|\\.part\\.json|\\.kept|_|-2){0,2}", 0..40)) {
            let urls = tails.iter().enumerate().map(|(n, tail)| WebUrl::parse(&format!("http://h{n}/{tail}")).unwrap());
            let plan = Plan::new(urls, |_| false);
            let mut files = HashSet::new();
            for download in plan.downloads() {
                let target = download.target().to_string();
                for file in ["", ".part", ".part.json", ".part.tmp", ".part.kept", ".part.new"].map(|suffix| format!("{target}{suffix}")) {
                    prop_assert!(files.insert(file.to_lowercase()), "{file}");
                }
            }
            prop_assert_eq!(plan.len(), tails.len());
        }
    }
}
