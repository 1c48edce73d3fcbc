//! [`Names`]: which targets are taken, and which one a download gets.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use super::download::Download;
use super::entry::Entry;
use super::query_name::query_suffix;
use super::requests::Requests;
use super::target::Target;
use crate::text::safe;

/// How many targets are packed at a time.
const BATCH: usize = 1000;

/// Which targets are taken, and what was asked for.
#[derive(Debug, Default)]
pub struct Names {
    hasher: RandomState,
    /// Finds a download by the [key](Target::key) of its target.
    by_target: HashTable<u32>,
    /// The keys of the directories that targets are in, each with a download whose target is in it.
    directories: HashMap<Box<str>, u32>,
    /// Where to continue counting when a target is taken.
    numbers: HashMap<Box<str>, usize>,
    requests: Requests,
    duplicates: usize,
}

/// A target that a download cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The position of the download in the plan.
    pub id: u32,
    /// The position of the other download.
    pub other: u32,
    target: String,
    is_directory: bool,
}

impl Clash {
    /// What is wrong, as the start of a sentence that ends with the other download.
    #[must_use]
    pub fn problem(&self) -> String {
        let target = safe(&self.target);
        if self.is_directory {
            format!("'{target}' would be a file and a directory at once, because of")
        } else {
            format!("the target '{target}' is also that of")
        }
    }
}

impl Names {
    pub const fn duplicates(&self) -> usize {
        self.duplicates
    }

    /// Finds the download whose target has this key.
    pub fn with_key<'d>(&self, key: &str, download: impl Fn(u32) -> &'d Download) -> Option<u32> {
        self.find(key, |id| download(id).target().key())
    }

    /// Drops the duplicates of a list, and sets the target and the position of every other entry. Returns the targets
    /// that clash.
    pub fn choose_all(&mut self, entries: &mut Vec<Entry>, exists: impl Fn(&Target) -> bool) -> Vec<Clash> {
        let count = entries.len();
        self.requests.drop_duplicates(entries);
        self.duplicates = count - entries.len();
        self.requests.set_with_target(ids(entries).filter(|id| entries[*id as usize].target.is_some()));
        let is_shared = self.find_shared(entries);
        let mut clashes = Vec::new();
        self.by_target = HashTable::with_capacity(entries.len());
        // What the list named cannot have another name, so it goes first.
        for is_named in [true, false] {
            for id in ids(entries) {
                if entries[id as usize].position.is_named() == is_named {
                    clashes.extend(self.choose_in(entries, id, is_shared[id as usize], &exists));
                }
            }
        }
        for batch in entries.chunks_mut(BATCH) {
            Target::pack(batch.iter_mut().filter_map(|entry| entry.target.as_mut()));
        }
        clashes.extend(self.find_directory_clashes(entries));
        clashes
    }

    /// Sets the target that every entry wants. Returns which of them want one that another entry wants too.
    fn find_shared(&mut self, entries: &mut [Entry]) -> Vec<bool> {
        let mut is_shared = vec![false; entries.len()];
        let mut wanted: HashTable<u32> = HashTable::with_capacity(entries.len());
        for id in ids(entries) {
            let entry = &mut entries[id as usize];
            if entry.target.is_none() {
                entry.target = Some(Target::from_url(entry.details.url()));
            }
            let key = key_of(entries, id);
            let hash = self.hasher.hash_one(&*key);
            match wanted.find(hash, |other| key_of(entries, *other) == key) {
                Some(other) => (is_shared[id as usize], is_shared[*other as usize]) = (true, true),
                None => {
                    wanted.insert_unique(hash, id, |id| self.hasher.hash_one(&*key_of(entries, *id)));
                }
            }
        }
        is_shared
    }

    fn choose_in(
        &mut self,
        entries: &mut [Entry],
        id: u32,
        is_shared: bool,
        exists: impl Fn(&Target) -> bool,
    ) -> Option<Clash> {
        let entry = &entries[id as usize];
        let (wanted, is_named) = (entry.target.clone()?, entry.position.is_named());
        let other = if is_named { self.find(&wanted.key(), |id| key_of(entries, id)) } else { None };
        let clash = other.map(|other| Clash { id, other, target: wanted.to_string(), is_directory: false });
        let suffix = (is_shared && !is_named).then(|| query_suffix(entry.details.url())).flatten();
        let preferred = suffix.map_or_else(|| wanted.clone(), |suffix| wanted.with_suffix(&suffix));
        // Taken out meanwhile, because the closure borrows the rest.
        let mut numbers = std::mem::take(&mut self.numbers);
        let is_taken = |key: &str| self.find(key, |id| key_of(entries, id)).is_some();
        let is_free = |target: &Target| !is_taken(&target.key()) && !exists(target);
        let target = first_free(preferred, None, is_free, &mut numbers);
        self.numbers = numbers;
        self.requests.record_renamed(id, wanted, &target);
        entries[id as usize].target = Some(target);
        self.insert(id, |id| key_of(entries, id));
        clash
    }

    /// Whether an entry equals one that is in the plan. If so, it is counted.
    pub fn is_duplicate<'d>(
        &mut self,
        entry: &Entry,
        first: &[Download],
        download: impl Fn(u32) -> &'d Download,
    ) -> bool {
        self.requests.index_first(first);
        let is_new = self.requests.insert(entry, download);
        self.duplicates += usize::from(!is_new);
        !is_new
    }

    /// Chooses the target of the next entry, whose position is set. Those of earlier downloads do not change.
    pub fn choose_next<'d>(
        &mut self,
        entry: &Entry,
        exists: impl Fn(&Target) -> bool,
        download: impl Fn(u32) -> &'d Download,
    ) -> Result<Target, Clash> {
        let (id, is_named) = (entry.position.id(), entry.position.is_named());
        let wanted = entry.target.clone().unwrap_or_else(|| Target::from_url(entry.details.url()));
        let clash = |other, is_directory| Clash { id, other, target: wanted.to_string(), is_directory };
        if let Some(other) = self.with_key(&wanted.key(), &download).filter(|_| is_named) {
            return Err(clash(other, false));
        }
        // Taken out meanwhile, because the closure borrows the rest.
        let mut numbers = std::mem::take(&mut self.numbers);
        let is_taken = |key: &str| self.with_key(key, &download).is_some();
        let is_free = |target: &Target| !is_taken(&target.key()) && !exists(target);
        let by_query = query_suffix(entry.details.url()).filter(|_| !is_named);
        let by_query = by_query.map(|suffix| wanted.with_suffix(&suffix));
        let target = first_free(wanted.clone(), by_query, is_free, &mut numbers);
        self.numbers = numbers;
        if let Some(other) = self.directory_clash(&target, |key| self.with_key(key, &download)) {
            return Err(clash(other, true));
        }
        self.add_directories(id, &target);
        if let Some(asked) = &entry.target {
            self.requests.add_with_target(id);
            self.requests.record_renamed(id, asked.clone(), &target);
        }
        self.insert(id, |other| if other == id { target.key() } else { download(other).target().key() });
        Ok(target)
    }

    /// Finds the targets that would be a file and a directory at once.
    fn find_directory_clashes(&mut self, entries: &[Entry]) -> Vec<Clash> {
        let mut last = None;
        for id in ids(entries) {
            let Some(target) = &entries[id as usize].target else { continue };
            let directory = target.directory();
            // Most lists name the same directory many times in a row.
            if directory.is_some() && directory != last {
                self.add_directories(id, target);
                last = directory;
            }
        }
        let is_flat = self.directories.is_empty();
        let clash = |id: u32| {
            let target = entries[id as usize].target.as_ref()?;
            let other = *self.directories.get(&*target.key())?;
            Some(Clash { id, other, target: target.to_string(), is_directory: true })
        };
        ids(entries).filter(|_| !is_flat).filter_map(clash).collect()
    }

    fn directory_clash(&self, target: &Target, with_key: impl Fn(&str) -> Option<u32>) -> Option<u32> {
        if target.directory().is_none() {
            return (!self.directories.is_empty()).then(|| self.directories.get(&*target.key()).copied())?;
        }
        let key = target.key();
        let on_the_way = parents(&key).find_map(with_key);
        self.directories.get(&*key).copied().or(on_the_way)
    }

    fn add_directories(&mut self, id: u32, target: &Target) {
        for directory in parents(&target.key()) {
            if self.directories.contains_key(directory) {
                // Then so are those that it is in.
                return;
            }
            self.directories.insert(directory.into(), id);
        }
    }

    fn find<'t>(&self, key: &str, key_of: impl Fn(u32) -> Cow<'t, str>) -> Option<u32> {
        self.by_target.find(self.hasher.hash_one(key), |id| key_of(*id) == key).copied()
    }

    fn insert<'t>(&mut self, id: u32, key_of: impl Fn(u32) -> Cow<'t, str>) {
        let hash = |id: u32| self.hasher.hash_one(&*key_of(id));
        self.by_target.insert_unique(hash(id), id, |id| hash(*id));
    }
}

/// The directories that a key is in, the innermost first.
fn parents(key: &str) -> impl Iterator<Item = &str> {
    key.rmatch_indices('/').map(|(slash, _)| &key[..slash])
}

fn ids(entries: &[Entry]) -> impl Iterator<Item = u32> + use<> {
    (0..).take(entries.len())
}

/// The key of an entry's target.
fn key_of(entries: &[Entry], id: u32) -> Cow<'_, str> {
    entries[id as usize].target.as_ref().map_or(Cow::Borrowed(""), Target::key)
}

/// Returns the wanted target if it is free, or else the other one, or else the first numbered alternative of the latter.
/// `numbers` stores where to continue counting: without it, a list in which every name is `download` takes quadratic
/// time.
fn first_free(
    wanted: Target,
    other: Option<Target>,
    is_free: impl Fn(&Target) -> bool,
    numbers: &mut HashMap<Box<str>, usize>,
) -> Target {
    if is_free(&wanted) {
        return wanted;
    }
    let last = other.unwrap_or(wanted);
    if is_free(&last) {
        return last;
    }
    let number = numbers.entry(last.key().into()).or_insert(2);
    loop {
        let candidate = last.numbered(*number);
        *number += 1;
        if is_free(&candidate) {
            return candidate;
        }
    }
}
