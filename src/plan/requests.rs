//! [`Requests`]: what the entries of a plan asked for, to recognize duplicates.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use super::download::Download;
use super::entry::Entry;
use super::target::Target;
use crate::url::WebUrl;

/// The first URL of each entry, and the target that it names. Neither is stored where a download has it.
#[derive(Debug, Default)]
pub struct Requests {
    hasher: RandomState,
    /// The downloads by what they asked for; empty until a plan grows, for only then more are compared with them.
    table: HashTable<u32>,
    /// The downloads whose entries name a target, in ascending order.
    named: Vec<u32>,
    /// The targets that they named, where those were taken.
    renamed: HashMap<u32, Target>,
}

impl Requests {
    /// Keeps the first of the entries that ask for the same, and numbers those that are left.
    pub fn drop_duplicates(&self, entries: &mut Vec<Entry>) {
        let mut table: HashTable<u32> = HashTable::with_capacity(entries.len());
        let request = |index: u32| {
            let Entry { details, target, .. } = &entries[index as usize];
            (details.url(), target.as_ref())
        };
        let mut is_first = |index: u32| {
            let hash = self.hasher.hash_one(request(index));
            let is_first = table.find(hash, |other| request(*other) == request(index)).is_none();
            if is_first {
                table.insert_unique(hash, index, |other| self.hasher.hash_one(request(*other)));
            }
            is_first
        };
        let is_first: Vec<bool> = (0..).take(entries.len()).map(&mut is_first).collect();
        let mut is_first = is_first.into_iter();
        entries.retain(|_| is_first.next().unwrap_or_default());
        (0..).zip(entries).for_each(|(id, entry)| entry.id = id);
    }

    /// Records the target that the entry of a download names, and the one that the download got.
    pub fn record(&mut self, id: u32, named: Option<Target>, target: &Target) {
        if let Some(named) = named {
            self.named.push(id);
            if named != *target {
                self.renamed.insert(id, named);
            }
        }
    }

    /// Makes the downloads known that a plan had before it grows.
    pub fn index_first(&mut self, downloads: &[Download]) {
        if self.table.is_empty() {
            let hash = |id: u32| self.hasher.hash_one(self.request(id, &downloads[id as usize]));
            let mut table = HashTable::with_capacity(downloads.len());
            for id in (0..).take(downloads.len()) {
                table.insert_unique(hash(id), id, |id| hash(*id));
            }
            self.table = table;
        }
    }

    /// Inserts the next download. Returns whether it asks for something else than all others.
    pub fn insert<'d>(
        &mut self,
        id: u32,
        url: &WebUrl,
        named: Option<&Target>,
        download: impl Fn(u32) -> &'d Download,
    ) -> bool {
        let hash = self.hasher.hash_one((url, named));
        if self.table.find(hash, |other| self.request(*other, download(*other)) == (url, named)).is_some() {
            return false;
        }
        let mut table = std::mem::take(&mut self.table);
        table.insert_unique(hash, id, |other| self.hasher.hash_one(self.request(*other, download(*other))));
        self.table = table;
        true
    }

    /// What the entry of a download asked for.
    fn request<'a>(&'a self, id: u32, download: &'a Download) -> (&'a WebUrl, Option<&'a Target>) {
        let is_named = self.named.binary_search(&id).is_ok();
        (download.url(), is_named.then(|| self.renamed.get(&id).unwrap_or_else(|| download.target())))
    }
}
