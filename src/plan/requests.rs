//! [`Requests`]: what the entries of a plan asked for, to recognize duplicates.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use super::download::Download;
use super::entry::Entry;
use super::source::Details;
use super::target::Target;

/// The first URL of each entry, and the target that it names. Neither is stored where a download has it.
#[derive(Debug, Default)]
pub struct Requests {
    hasher: RandomState,
    /// The downloads by what they asked for; empty until a plan grows, for only then more are compared with them.
    table: HashTable<u32>,
    /// The downloads whose entries have a target, in ascending order.
    with_target: Vec<u32>,
    /// The targets that they have, where the plan chose others.
    renamed: HashMap<u32, Target>,
}

/// What an entry asks for.
type Request<'a> = (&'a Details, Option<&'a Target>);

impl Requests {
    /// Keeps the first of the entries that ask for the same, and numbers those that are left.
    pub fn drop_duplicates(&self, entries: &mut Vec<Entry>) {
        let mut table: HashTable<u32> = HashTable::with_capacity(entries.len());
        let request = |index: u32| of_entry(&entries[index as usize]);
        let mut is_first = |index: u32| {
            let hash = self.hash(request(index));
            let is_first = table.find(hash, |other| request(*other) == request(index)).is_none();
            if is_first {
                table.insert_unique(hash, index, |other| self.hash(request(*other)));
            }
            is_first
        };
        let is_first: Vec<bool> = (0..).take(entries.len()).map(&mut is_first).collect();
        let mut is_first = is_first.into_iter();
        entries.retain(|_| is_first.next().unwrap_or_default());
        (0..).zip(entries).for_each(|(id, entry)| entry.position = entry.position.at(id));
    }

    /// Sets which entries have a target, in ascending order.
    pub fn set_with_target(&mut self, ids: impl Iterator<Item = u32>) {
        self.with_target = ids.collect();
    }

    /// Adds the last entry to those that have a target.
    pub fn add_with_target(&mut self, id: u32) {
        self.with_target.push(id);
    }

    /// Records the target that an entry has, if the plan chose another one.
    pub fn record_renamed(&mut self, id: u32, asked: Target, chosen: &Target) {
        if asked != *chosen && self.has_target(id) {
            self.renamed.insert(id, asked);
        }
    }

    /// Makes the downloads known that a plan had before it grows.
    pub fn index_first(&mut self, downloads: &[Download]) {
        if self.table.is_empty() {
            let hash = |id: u32| self.hash(self.of_download(id, &downloads[id as usize]));
            let mut table = HashTable::with_capacity(downloads.len());
            for id in (0..).take(downloads.len()) {
                table.insert_unique(hash(id), id, |id| hash(*id));
            }
            self.table = table;
        }
    }

    /// Inserts the next entry, whose position is set. Returns whether it asks for something else than all others.
    pub fn insert<'d>(&mut self, entry: &Entry, download: impl Fn(u32) -> &'d Download) -> bool {
        let (request, id) = (of_entry(entry), entry.position.id());
        let hash = self.hash(request);
        if self.table.find(hash, |other| self.of_download(*other, download(*other)) == request).is_some() {
            return false;
        }
        let mut table = std::mem::take(&mut self.table);
        table.insert_unique(hash, id, |other| self.hash(self.of_download(*other, download(*other))));
        self.table = table;
        true
    }

    fn hash(&self, (details, target): Request<'_>) -> u64 {
        self.hasher.hash_one((details.url(), target))
    }

    /// What the entry of a download asked for.
    fn of_download<'a>(&'a self, id: u32, download: &'a Download) -> Request<'a> {
        let asked = self.has_target(id).then(|| self.renamed.get(&id).unwrap_or_else(|| download.target()));
        (download.details(), asked)
    }

    fn has_target(&self, id: u32) -> bool {
        self.with_target.binary_search(&id).is_ok()
    }
}

fn of_entry(entry: &Entry) -> Request<'_> {
    (&entry.details, entry.target.as_ref())
}
