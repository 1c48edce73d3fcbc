//! Turns list entries into a plan: drops duplicates, and gives each download a target of its own.

use std::collections::{HashMap, HashSet};

use super::download::Download;
use super::entry::Entry;
use super::name::SafeName;
use super::target::Target;

/// Every download of a run, in list order. No two share a target, even on a file system that ignores case.
#[derive(Debug, Clone)]
pub struct Plan {
    downloads: Vec<Download>,
    /// The [keys](Target::key) of the targets.
    keys: HashSet<String>,
    duplicates: usize,
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
        let entries: Vec<Entry> = entries.into_iter().map(Into::into).collect();
        let count = entries.len();
        let is_first = first_occurrences(&entries);
        let (mut keys, mut numbers) = (HashSet::with_capacity(count), HashMap::new());
        let mut to_download = |id: usize, Entry { sources, target, expected }| {
            let target = target.unwrap_or_else(|| SafeName::from_url(&sources[0].url).into());
            let target = first_free(target, &keys, &exists, &mut numbers);
            keys.insert(target.key());
            Download::new(id, sources, target, expected)
        };
        let firsts = entries.into_iter().zip(is_first).filter(|(_, is_first)| *is_first).map(|(entry, _)| entry);
        // Collected in place, because a download is as large as an entry: 100,000 URLs take 39 MiB instead of 46.
        let downloads: Vec<_> = firsts.enumerate().map(|(id, entry)| to_download(id, entry)).collect();
        let duplicates = count - downloads.len();
        Self { downloads, keys, duplicates }
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
        self.keys.contains(&target.key())
    }
}

/// Returns `target`, or its first numbered alternative that neither the plan nor the file system has. `numbers` stores
/// where to continue counting: without it, a list in which every name is `download` takes quadratic time.
fn first_free(
    target: Target,
    keys: &HashSet<String>,
    exists: impl Fn(&Target) -> bool,
    numbers: &mut HashMap<String, usize>,
) -> Target {
    let is_free = |target: &Target| !keys.contains(&target.key()) && !exists(target);
    if is_free(&target) {
        return target;
    }
    let number = numbers.entry(target.key()).or_insert(2);
    loop {
        let candidate = target.numbered(*number);
        *number += 1;
        if is_free(&candidate) {
            return candidate;
        }
    }
}

/// Returns, for each entry, whether no earlier one has the same first URL and target.
fn first_occurrences(entries: &[Entry]) -> Vec<bool> {
    let mut seen = HashSet::with_capacity(entries.len());
    entries.iter().map(|entry| seen.insert((&entry.sources[0].url, &entry.target))).collect()
}

#[cfg(test)]
mod tests {
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
    fn one_url_with_two_targets_is_two_downloads() {
        let entry = || Entry::from(WebUrl::parse("http://a/x").unwrap());
        let named = |name| entry().with_target(SafeName::from_user(name).unwrap());
        let plan = Plan::new([entry(), named("y"), named("z"), named("y")], |_| false);
        let targets: Vec<_> = plan.downloads().iter().map(|download| download.target().as_str()).collect();
        assert_eq!((targets.as_slice(), plan.duplicates()), (["x", "y", "z"].as_slice(), 1));
    }

    #[test]
    fn mirrors_and_their_headers_stay_in_order() {
        let url = |url| WebUrl::parse(url).unwrap();
        let header = Header::parse("X-Key: 1").unwrap();
        let entry = Entry::from(url("http://a/x")).with_mirror(url("http://b/y")).with_header(header.clone());
        let plan = Plan::new([entry.with_length(7)], |_| false);
        let [download] = plan.downloads() else { panic!("{plan:?}") };
        let [first, second] = download.sources() else { panic!("{plan:?}") };
        assert_eq!((download.url(), first.headers.as_slice()), (&url("http://a/x"), [].as_slice()));
        assert_eq!((&second.url, second.headers.as_slice()), (&url("http://b/y"), [header].as_slice()));
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
