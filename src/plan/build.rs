//! Turns list entries into a plan: drops duplicates, and gives each download a target of its own.

use std::collections::HashMap;

use super::download::Download;
use super::entry::Entry;
use super::index::Index;
use super::name::{SafeName, fold_case, target_of};
use super::target::Target;

/// How many targets are packed at a time.
const BATCH: usize = 1000;

/// Every download of a run, in list order. No two share a target, even on a file system that ignores case.
#[derive(Debug, Clone)]
pub struct Plan {
    downloads: Vec<Download>,
    /// Finds a download by the [key](Target::key) of its target.
    by_target: Index,
    /// The downloads whose entries gave them a target, in order.
    with_given_target: Vec<u32>,
    duplicates: usize,
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
        drop_duplicates(&mut entries);
        let duplicates = count - entries.len();
        let with_given_target = entries.iter().filter(|entry| entry.target.is_some()).map(|entry| entry.id).collect();
        let by_target = choose_targets(&mut entries, exists);
        let to_download = |Entry { target, details, place, id }: Entry| {
            let target = target.unwrap_or_else(|| SafeName::from_url(details.url()).into());
            Download::new(id, place, target, details)
        };
        // Collected in place, for an entry is as large as a download: the entries of a million URLs take 46 MiB.
        let downloads = entries.into_iter().map(to_download).collect();
        Self { downloads, by_target, with_given_target, duplicates }
    }

    /// Returns the downloads in list order.
    #[must_use]
    pub fn downloads(&self) -> &[Download] {
        &self.downloads
    }

    /// Returns how many entries were dropped as duplicates.
    #[must_use]
    pub const fn duplicates(&self) -> usize {
        self.duplicates
    }

    /// Whether a download of the plan has this target. Names of part files and sidecars need no check: no
    /// target has one.
    #[must_use]
    pub fn contains(&self, target: &Target) -> bool {
        self.with_key(&target.key()).is_some()
    }

    /// Whether the target of a download is from its entry, rather than from its URL.
    pub(crate) fn has_given_target(&self, id: usize) -> bool {
        self.with_given_target.binary_search_by_key(&id, |id| *id as usize).is_ok()
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
        self.by_target.find(self.by_target.hash(key), |id| self.downloads[id].target().key() == key)
    }
}

/// Keeps the first of the entries that have the same first URL and target, and numbers those that are left.
fn drop_duplicates(entries: &mut Vec<Entry>) {
    let mut seen = Index::new(entries.len());
    let mut is_first = |position: usize| {
        let key = |position: usize| (entries[position].details.url(), &entries[position].target);
        seen.insert(seen.hash(key(position)), position, |other| key(other) == key(position)).is_none()
    };
    let is_first: Vec<bool> = (0..entries.len()).map(&mut is_first).collect();
    let mut is_first = is_first.into_iter();
    entries.retain(|_| is_first.next().unwrap_or_default());
    (0..).zip(entries).for_each(|(id, entry)| entry.id = id);
}

/// Sets the target of every entry, and returns an index of them by their keys.
fn choose_targets(entries: &mut [Entry], exists: impl Fn(&Target) -> bool) -> Index {
    let mut by_key = Index::new(entries.len());
    let mut numbers = HashMap::new();
    for id in 0..entries.len() {
        let entry = &mut entries[id];
        let wanted = entry.target.take().unwrap_or_else(|| SafeName::from_url(entry.details.url()).into());
        let hash_if_free = |target: &Target| {
            let key = target.key();
            let has_key = |id: usize| entries[id].target.as_ref().is_some_and(|target| target.key() == key);
            let hash = by_key.hash(&*key);
            (by_key.find(hash, has_key).is_none() && !exists(target)).then_some(hash)
        };
        let (target, hash) = first_free(wanted, hash_if_free, &mut numbers);
        by_key.insert(hash, id, |_| false);
        entries[id].target = Some(target);
        if (id + 1).is_multiple_of(BATCH) || id + 1 == entries.len() {
            let batch = &mut entries[id - id % BATCH..=id];
            Target::pack(batch.iter_mut().filter_map(|entry| entry.target.as_mut()));
        }
    }
    by_key
}

/// Returns `target`, or its first numbered alternative that is free, with what `if_free` returns for it. `numbers`
/// stores where to continue counting: without it, a list in which every name is `download` takes quadratic time.
fn first_free<T>(
    target: Target,
    if_free: impl Fn(&Target) -> Option<T>,
    numbers: &mut HashMap<Box<str>, usize>,
) -> (Target, T) {
    if let Some(result) = if_free(&target) {
        return (target, result);
    }
    let number = numbers.entry(target.key().into()).or_insert(2);
    loop {
        let candidate = target.numbered(*number);
        *number += 1;
        if let Some(result) = if_free(&candidate) {
            return (candidate, result);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::options::Header;
    use crate::url::WebUrl;

    fn targets(urls: &[&str], existing: &[&str]) -> Vec<String> {
        let urls = urls.iter().map(|url| WebUrl::parse(url).unwrap());
        let plan = Plan::new(urls, |target| existing.contains(&target.as_str()));
        plan.downloads().iter().map(|download| download.target().to_string()).collect()
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
        assert_eq!(plan.downloads().len(), 2);
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
        let targets: Vec<_> = plan.downloads().iter().map(|download| download.target().as_str()).collect();
        assert_eq!((targets.as_slice(), plan.duplicates()), (["x", "y", "z"].as_slice(), 1));
        assert_eq!([0, 1, 2].map(|id| plan.has_given_target(id)), [false, true, true]);
    }

    #[test]
    fn mirrors_and_their_headers_stay_in_order() {
        let url = |url| WebUrl::parse(url).unwrap();
        let header = Header::parse("X-Key: 1").unwrap();
        let entry = Entry::from(url("http://a/x")).with_mirror(url("http://b/y")).with_header(header.clone());
        let plan = Plan::new([entry.with_length(7)], |_| false);
        let [download] = plan.downloads() else { panic!("{plan:?}") };
        let [first, second] = download.sources() else { panic!("{plan:?}") };
        assert_eq!((download.url(), first.headers()), (&url("http://a/x"), [].as_slice()));
        assert_eq!((&second.url, second.headers()), (&url("http://b/y"), [header].as_slice()));
        assert_eq!((download.target().as_str(), download.expected().length), ("x", Some(7)));
    }

    #[test]
    fn names_of_existing_files_are_skipped() {
        assert_eq!(targets(&["http://a/x", "http://b/x"], &["x", "x-3"]), ["x-2", "x-4"]);
    }

    proptest! {
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
            prop_assert_eq!(plan.downloads().len(), tails.len());
        }
    }
}
