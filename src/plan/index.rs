//! [`Index`]: finds the items of a list by a key, without storing the keys.

use std::hash::{BuildHasher, Hash, RandomState};

/// A hash table of positions in a list. The list itself is not part of it, so a million items with keys of 40 bytes
/// cost 11 MiB instead of 80.
///
/// Open addressing with linear probing, at most three quarters full. A slot holds a position in its lower bits, and in
/// the others a part of the hash, so that few keys are compared in vain.
#[derive(Debug, Clone)]
pub struct Index {
    slots: Box<[usize]>,
    position_bits: u32,
    hasher: RandomState,
}

/// An empty slot. No position has only ones in its bits: see [`Index::new`].
const EMPTY: usize = usize::MAX;

impl Index {
    /// Creates a table for positions below `count`, each of which may be inserted once.
    pub fn new(count: usize) -> Self {
        let slots = vec![EMPTY; count + count / 3 + 1].into_boxed_slice();
        Self { slots, position_bits: usize::BITS - count.leading_zeros(), hasher: RandomState::new() }
    }

    /// Returns the hash of a key.
    pub fn hash(&self, key: impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Returns the item whose key has this hash. `has_key` says whether the item at a position is the one.
    pub fn find(&self, hash: u64, has_key: impl Fn(usize) -> bool) -> Option<usize> {
        self.probe(hash, has_key).ok()
    }

    /// Inserts the item at `position`, whose key has this hash, unless one is found, which is then returned.
    pub fn insert(&mut self, hash: u64, position: usize, has_key: impl Fn(usize) -> bool) -> Option<usize> {
        match self.probe(hash, has_key) {
            Ok(found) => Some(found),
            Err(slot) => {
                self.slots[slot] = self.tag(hash) | position;
                None
            }
        }
    }

    /// Returns the position of the item, or the slot where it would be.
    fn probe(&self, hash: u64, has_key: impl Fn(usize) -> bool) -> Result<usize, usize> {
        // The upper half of the product is evenly distributed over the slots.
        let mut slot = ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize;
        let positions = !self.tag(u64::MAX);
        loop {
            let content = self.slots[slot];
            let position = content & positions;
            if content == EMPTY {
                return Err(slot);
            }
            if content & !positions == self.tag(hash) && has_key(position) {
                return Ok(position);
            }
            slot = (slot + 1) % self.slots.len();
        }
    }

    /// The lower bits of the hash: the upper ones choose the slot.
    const fn tag(&self, hash: u64) -> usize {
        (hash as usize) << self.position_bits
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_a_scan_finds(words in proptest::collection::vec("[ab]{0,4}", 0..60), other in "[abc]{0,4}") {
            let mut index = Index::new(words.len());
            for (position, word) in words.iter().enumerate() {
                let first = words.iter().position(|earlier| earlier == word).filter(|first| *first < position);
                prop_assert_eq!(index.insert(index.hash(word), position, |at| words[at] == *word), first);
            }
            let first = words.iter().position(|word| *word == other);
            prop_assert_eq!(index.find(index.hash(&other), |at| words[at] == other), first);
        }
    }

    #[test]
    fn equal_hashes_do_not_make_keys_equal() {
        let letters: Vec<char> = ('a'..='z').collect();
        for hash in [0, 7, u64::MAX] {
            let mut index = Index::new(letters.len());
            for (position, letter) in letters.iter().enumerate() {
                assert_eq!(index.insert(hash, position, |at| letters[at] == *letter), None);
            }
            for (position, letter) in letters.iter().enumerate() {
                assert_eq!(index.find(hash, |at| letters[at] == *letter), Some(position));
            }
            assert_eq!(index.find(hash, |at| letters[at] == 'A'), None);
        }
    }
}
