//! A download that waits for its next attempt, ordered by when that may begin.

use std::cmp::Ordering;
use std::time::Instant;

#[derive(Debug)]
pub struct Waiting<T> {
    pub until: Instant,
    pub id: usize,
    /// What is kept of the download.
    pub kept: T,
}

impl<T> Ord for Waiting<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.until, self.id).cmp(&(other.until, other.id))
    }
}

impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Waiting<T> {}
