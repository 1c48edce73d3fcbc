//! WHAT to fetch: every download of a run, each with a target that no other has. Knows no file system and no network.

pub mod list;
mod name;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

pub use name::{COMPARE_DIRECTORY, SafeName};

use crate::url::WebUrl;

/// Every download of a run, in list order, with targets that differ even where case does not count.
#[derive(Debug, Clone)]
pub struct Plan {
    downloads: Vec<Download>,
    /// The [keys](SafeName::key) of the targets.
    keys: HashSet<String>,
    repeated: usize,
}

/// One file to get.
#[derive(Debug, Clone)]
pub struct Download {
    /// Its place in the plan, from 0.
    pub id: usize,
    /// Where it comes from.
    pub url: WebUrl,
    /// Its name in the output directory.
    pub target: SafeName,
}

impl Download {
    /// The path of the target in `directory`.
    #[must_use]
    pub fn path(&self, directory: &Path) -> PathBuf {
        directory.join(self.target.as_str())
    }
}

impl Plan {
    /// Gives each URL the name that it ends in. A URL that was given before is passed over. A name that is taken
    /// becomes `name-2.ext`, and so on: taken by an earlier download's target, or by what `exists` knows.
    #[must_use]
    pub fn new(urls: Vec<WebUrl>, exists: impl Fn(&SafeName) -> bool) -> Self {
        let given = urls.len();
        let first = first_occurrences(&urls);
        let mut plan = Self { downloads: Vec::with_capacity(given), keys: HashSet::with_capacity(given), repeated: 0 };
        let mut numbers = HashMap::new();
        for (url, _) in urls.into_iter().zip(first).filter(|(_, is_first)| *is_first) {
            let name = SafeName::from_url(&url);
            let target = plan.first_free(name, &exists, &mut numbers);
            plan.add(url, target);
        }
        plan.repeated = given - plan.downloads.len();
        plan
    }

    /// A plan of one URL under a name that the user chose; numbered if it `exists`.
    #[must_use]
    pub fn single(url: WebUrl, name: SafeName, exists: impl Fn(&SafeName) -> bool) -> Self {
        let mut plan = Self { downloads: Vec::with_capacity(1), keys: HashSet::new(), repeated: 0 };
        let target = plan.first_free(name, exists, &mut HashMap::new());
        plan.add(url, target);
        plan
    }

    fn add(&mut self, url: WebUrl, target: SafeName) {
        self.keys.insert(target.key());
        self.downloads.push(Download { id: self.downloads.len(), url, target });
    }

    /// `name`, or the first of its numbered kin that no download of the plan uses and that does not exist. `numbers`
    /// keeps the number to go on from, so that a list in which every name is `download` is no quadratic search.
    fn first_free(
        &self,
        name: SafeName,
        exists: impl Fn(&SafeName) -> bool,
        numbers: &mut HashMap<String, usize>,
    ) -> SafeName {
        let is_free = |name: &SafeName| !self.uses(name) && !exists(name);
        if is_free(&name) {
            return name;
        }
        let number = numbers.entry(name.key()).or_insert(2);
        loop {
            let candidate = name.numbered(*number);
            *number += 1;
            if is_free(&candidate) {
                return candidate;
            }
        }
    }

    /// Whether a download of the plan has this target. Part files and sidecars are no matter: no target has such a name.
    #[must_use]
    pub fn uses(&self, name: &SafeName) -> bool {
        self.keys.contains(&name.key())
    }

    /// The downloads in list order.
    #[must_use]
    pub fn downloads(&self) -> &[Download] {
        &self.downloads
    }

    /// How many URLs were given again and are fetched once.
    #[must_use]
    pub const fn repeated(&self) -> usize {
        self.repeated
    }
}

/// For each URL, whether it is the first of its like.
fn first_occurrences(urls: &[WebUrl]) -> Vec<bool> {
    let mut seen = HashSet::with_capacity(urls.len());
    urls.iter().map(|url| seen.insert(url)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn targets(urls: &[&str], existing: &[&str]) -> Vec<String> {
        let urls = urls.iter().map(|url| WebUrl::parse(url).unwrap()).collect();
        let plan = Plan::new(urls, |name| existing.contains(&name.as_str()));
        plan.downloads().iter().map(|download| download.target.to_string()).collect()
    }

    #[test]
    fn two_urls_with_one_name_both_keep_their_files() {
        assert_eq!(
            targets(&["http://a/x.gz", "http://b/x.gz", "http://c/X.GZ", "http://d/x-2.gz"], &[]),
            ["x.gz", "x-2.gz", "X-3.GZ", "x-2-2.gz"]
        );
    }

    #[test]
    fn a_name_such_as_a_part_file_has_is_no_target() {
        assert_eq!(targets(&["http://a/x", "http://a/x.part"], &[]), ["x", "x.part_"]);
        assert_eq!(targets(&["http://a/x.part", "http://b/x.part"], &[]), ["x.part_", "x-2.part_"]);
        assert_eq!(targets(&["http://a/x", "http://a/X.part.json"], &[]), ["x", "X.part.json_"]);
        assert_eq!(targets(&["http://a/x.part", "http://a/x.part_"], &[]), ["x.part_", "x-2.part_"]);
        assert_eq!(targets(&["http://a/ΑΣ", "http://a/ας"], &[]), ["ΑΣ", "ας-2"]);
    }

    #[test]
    fn the_same_url_is_fetched_once() {
        let urls = ["http://a/x", "http://a/x#part", "http://a/x?", "http://A/x"];
        let plan = Plan::new(urls.iter().map(|url| WebUrl::parse(url).unwrap()).collect(), |_| false);
        assert_eq!(plan.downloads().len(), 2);
        assert_eq!(plan.repeated(), 2);
    }

    #[test]
    fn existing_files_are_passed_over_where_they_count() {
        assert_eq!(targets(&["http://a/x", "http://b/x"], &["x", "x-3"]), ["x-2", "x-4"]);
    }

    proptest! {
        #[test]
        fn no_two_targets_of_a_plan_are_equal(tails in proptest::collection::vec("[aAbB%0-9éÉ]{0,3}(\\.part|\\.json|\\.part\\.json|\\.kept|_|-2){0,2}", 0..40)) {
            let urls = tails.iter().enumerate().map(|(n, tail)| WebUrl::parse(&format!("http://h{n}/{tail}")).unwrap()).collect();
            let plan = Plan::new(urls, |_| false);
            let mut files = HashSet::new();
            for download in plan.downloads() {
                let target = download.target.to_string();
                for file in ["", ".part", ".part.json", ".part.tmp", ".part.kept", ".part.new"].map(|suffix| format!("{target}{suffix}")) {
                    prop_assert!(files.insert(file.to_lowercase()), "{file}");
                }
            }
            prop_assert_eq!(plan.downloads().len(), tails.len());
        }
    }
}
