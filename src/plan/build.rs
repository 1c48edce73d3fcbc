//! Turns list entries into a plan: drops duplicates, and gives each download a target of its own.

use std::ops::Index;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::download::Download;
use super::entry::Entry;
use super::name::{fold_case, target_of};
use super::names::{Clash, Names};
use super::position::Position;
use super::sums::{Sums, Unmatched};
use super::target::Target;

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
    clashes: Vec<Clash>,
    /// What checksum files say about its files.
    sums: Option<Mutex<Sums>>,
}

/// Why an entry cannot be added to a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// The plan is full.
    #[error("a list can have no more than {} downloads", Position::LIMIT)]
    TooMany,
    /// Its target belongs to another download, or has to be a file and a directory at once. `other` is the redacted URL
    /// of that download.
    #[error("{problem} {other}")]
    Clash {
        /// What is wrong, without the other download.
        problem: String,
        /// The redacted URL of the other download.
        other: String,
    },
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
    /// URL. An entry that equals an earlier one is dropped as a duplicate.
    ///
    /// Where several URLs end in one name, their queries tell them apart: `download?id=1` becomes `download@id=1`. A
    /// target that another download has nevertheless becomes `name-2.ext`, and so on. (With `--if-exists rename`, a
    /// commit does the same for files that appear later.) Names that the list gave come first; see
    /// [`clashes`](Self::clashes).
    ///
    /// A target for which `exists` returns true is numbered as well. That is for
    /// [`IfExists::Rename`](crate::options::IfExists), which keeps existing files; otherwise, pass `|_| false`.
    #[must_use]
    pub fn new<E: Into<Entry>>(entries: impl IntoIterator<Item = E>, exists: impl Fn(&Target) -> bool) -> Self {
        let mut entries: Vec<Entry> = entries.into_iter().map(Into::into).collect();
        let mut names = Names::default();
        let clashes = names.choose_all(&mut entries, exists);
        let to_download = |Entry { target, details, place, position }: Entry| {
            let target = target.unwrap_or_else(|| Target::from_url(details.url()));
            Download::new(position, place, target, details)
        };
        // Collected in place, for an entry is as large as a download: the entries of a million URLs take 46 MiB.
        let first = entries.into_iter().map(to_download).collect();
        Self { first, later: boxcar::Vec::new(), names: Mutex::new(names), clashes, sums: None }
    }

    /// Adds an entry after the others. Returns its download, or `None` if it is a duplicate.
    ///
    /// Its name is chosen among those that are left: unlike in [`new`](Self::new), an earlier one never changes.
    ///
    /// # Errors
    ///
    /// [`AddError`] if its target is that of another download, and the list gave it; or if the plan is full.
    pub fn add(
        &self,
        entry: impl Into<Entry>,
        exists: impl Fn(&Target) -> bool,
    ) -> Result<Option<&Download>, AddError> {
        let mut entry = entry.into();
        let mut names = self.names();
        let id = u32::try_from(self.len()).ok().filter(|id| *id < Position::LIMIT).ok_or(AddError::TooMany)?;
        entry.position = entry.position.at(id);
        let download = |id: u32| &self[id as usize];
        if names.is_duplicate(&entry, &self.first, download) {
            return Ok(None);
        }
        let target = names.choose_next(&entry, exists, download).map_err(|clash| AddError::Clash {
            problem: clash.problem(),
            other: download(clash.other).url().to_string(),
        })?;
        let mut download = Download::new(entry.position, entry.place, target, entry.details);
        if let Some(sums) = &self.sums {
            download.add_digests(&mut sums.lock().unwrap_or_else(PoisonError::into_inner));
        }
        let index = self.later.push(download);
        Ok(self.later.get(index))
    }

    /// Expects of every file the digests that checksum files give for its target; also of those that are added later.
    pub fn set_sums(&mut self, mut sums: Sums) {
        self.first.iter_mut().for_each(|download| download.add_digests(&mut sums));
        self.sums = Some(Mutex::new(sums));
    }

    /// Returns the sums without a file and the files without a sum so far; `None` without checksum files.
    #[must_use]
    pub fn unmatched_sums(&self) -> Option<(Unmatched, Unmatched)> {
        let sums = self.sums.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        Some((sums.without_file(), sums.files_without_sum()))
    }

    /// Returns the targets that several entries of [`new`](Self::new) have to share, which they cannot: those that the
    /// list gave to two of them, or that would be a file and a directory at once. Such a plan should not be run.
    #[must_use]
    pub fn clashes(&self) -> &[Clash] {
        &self.clashes
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
        self.names().duplicates()
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
        self.names().with_key(key, |id| &self[id as usize]).map(|id| id as usize)
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::digest::Digest;
    use crate::options::Header;
    use crate::plan::name::SafeName;
    use crate::url::WebUrl;

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
        assert_eq!([0, 1, 2].map(|id| plan[id].is_named()), [false, true, true]);
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
        let added = [entry(), other(), named("x"), other(), named("z"), named("z")].map(|entry| {
            plan.add(entry, |_| false).unwrap().map(|download| (download.id(), download.target().to_string()))
        });
        let expected = [None, Some((3, "x-3")), None, None, Some((4, "z")), None];
        assert_eq!(added, expected.map(|added| added.map(|(id, target)| (id, target.to_owned()))));
        assert_eq!((plan.len(), plan.duplicates()), (5, 4));
        let digest = Digest::from_bare_hex(&"0".repeat(32)).unwrap();
        assert!(plan.add(entry().with_digest(digest), |_| false).unwrap().is_some(), "it says more");
    }

    #[test]
    fn queries_tell_urls_apart_that_end_in_one_name() {
        assert_eq!(targets(&["http://a/get?id=1"], &[]), ["get"]);
        assert_eq!(
            targets(
                &["http://a/get.csv?id=1", "http://a/get.csv?id=2", "http://b/get.csv?id=2", "http://a/get.csv"],
                &[]
            ),
            ["get@id=1.csv", "get@id=2.csv", "get@id=2-2.csv", "get.csv"]
        );
        let plan = Plan::default();
        let added = ["http://a/get?id=1", "http://a/get?id=2", "http://b/get?id=2", "http://a/get"].map(|url| {
            let download = plan.add(WebUrl::parse(url).unwrap(), |_| false).unwrap();
            download.unwrap().target().to_string()
        });
        assert_eq!(added, ["get", "get@id=2", "get@id=2-2", "get-2"]);
    }

    #[test]
    fn what_the_list_named_keeps_its_name_or_clashes() {
        let entry = |url: &str, path: &str| {
            let entry = Entry::from(WebUrl::parse(url).unwrap());
            if path.is_empty() { entry } else { entry.with_target(Target::from_list(path).unwrap()) }
        };
        let clashes = |entries: &[(&str, &str)]| -> Vec<(u32, u32)> {
            let plan = Plan::new(entries.iter().map(|(url, path)| entry(url, path)), |_| false);
            let found: Vec<_> = plan.clashes().iter().map(|clash| (clash.id, clash.other)).collect();
            let growing = Plan::default();
            let refused: Vec<_> =
                entries.iter().map(|(url, path)| growing.add(entry(url, path), |_| false).is_err()).collect();
            assert_eq!(refused.contains(&true), !found.is_empty(), "{entries:?}");
            found
        };
        assert_eq!(clashes(&[("http://a/x", ""), ("http://a/y", "z"), ("http://a/z", "y")]), []);
        assert_eq!(clashes(&[("http://a/x", "d/y"), ("http://a/y", "D/Y")]), [(1, 0)]);
        assert_eq!(clashes(&[("http://a/x", "d/e/y"), ("http://a/y", "d")]), [(1, 0)]);
        assert_eq!(clashes(&[("http://a/y", "d/e"), ("http://a/x", "d/E/y")]), [(0, 1)]);
        assert_eq!(clashes(&[("http://a/x", "d/y"), ("http://a/y", "d/z"), ("http://a/z", "e/z")]), []);
        let plan = Plan::new([entry("http://a/x", ""), entry("http://a/y", "x")], |_| false);
        assert_eq!([plan[0].target().as_str(), plan[1].target().as_str()], ["x-2", "x"]);
        assert_eq!([plan[0].is_named(), plan[1].is_named()], [false, true]);
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
            entries in proptest::collection::vec(("[ab]", "[aAb]{0,2}(\\.part|-2|-3)?"), 0..40),
            known in 0usize..40,
        ) {
            let url = |(host, tail): &(String, String)| WebUrl::parse(&format!("http://{host}/{tail}")).unwrap();
            let entries: Vec<Entry> = entries.iter().map(|entry| url(entry).into()).collect();
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
