//! A list that is still being read while its first downloads run.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::plan::Entry;

/// How often a wait for the next item checks whether the run was stopped.
const TICK: Duration = Duration::from_millis(25);

/// What comes next of a list that is read while it is downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// An entry.
    Entry(Entry),
    /// Something that the user should know about the list.
    Warning(String),
    /// Something that is no valid entry. It counts as a permanent failure.
    #[non_exhaustive]
    Invalid {
        /// Where it is from; see [`Entry::with_place`].
        place: u32,
        /// What is wrong with it.
        problem: String,
    },
}

impl Item {
    /// Creates an item for what is no valid entry. `place` says where it is from; see [`Entry::with_place`].
    #[must_use]
    pub fn invalid(place: u32, problem: impl Into<String>) -> Self {
        Self::Invalid { place, problem: problem.into() }
    }
}

impl<E: Into<Entry>> From<E> for Item {
    fn from(entry: E) -> Self {
        Self::Entry(entry.into())
    }
}

/// The items that are still to come.
#[derive(Debug)]
pub struct GrowingList {
    items: Mutex<Items>,
}

#[derive(Debug)]
struct Items {
    rx: Receiver<Item>,
    /// An item that was received too early.
    first: Option<Item>,
}

/// What a wait for the next item has brought.
#[derive(Debug)]
pub enum Received {
    Item(Item),
    /// No more will come.
    End,
    /// Nothing has come yet, and it is not waited for.
    Nothing,
}

impl GrowingList {
    pub const fn new(rx: Receiver<Item>) -> Self {
        Self { items: Mutex::new(Items { rx, first: None }) }
    }

    /// Waits for the next item, but no longer than until `is_stopped` returns true.
    pub fn next(&self, is_stopped: impl Fn() -> bool) -> Received {
        let mut items = self.items();
        while !is_stopped() {
            if let Some(first) = items.first.take() {
                return Received::Item(first);
            }
            match items.rx.recv_timeout(TICK) {
                Ok(item) => return Received::Item(item),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Received::End,
            }
        }
        Received::Nothing
    }

    /// Returns the next item if it is there already.
    pub fn next_arrived(&self) -> Received {
        let mut items = self.items();
        if let Some(first) = items.first.take() {
            return Received::Item(first);
        }
        match items.rx.try_recv() {
            Ok(item) => Received::Item(item),
            Err(TryRecvError::Empty) => Received::Nothing,
            Err(TryRecvError::Disconnected) => Received::End,
        }
    }

    /// Returns an item, which will be the next one again.
    pub fn put_back(&self, item: Item) {
        self.items().first = Some(item);
    }

    fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn nothing_is_taken_after_a_stop_and_the_end_is_not_a_stop() {
        let (tx, rx) = mpsc::channel();
        let list = GrowingList::new(rx);
        tx.send(Item::invalid(1, "a")).unwrap();
        assert!(matches!(list.next(|| true), Received::Nothing));
        let Received::Item(item) = list.next(|| false) else { panic!("it was sent") };
        list.put_back(item);
        assert!(matches!(list.next_arrived(), Received::Item(Item::Invalid { place: 1, .. })));
        assert!(matches!(list.next_arrived(), Received::Nothing));
        drop(tx);
        assert!(matches!(list.next_arrived(), Received::End));
        assert!(matches!(list.next(|| false), Received::End));
    }
}
