//! [`SharedText`]: immutable text that can share one allocation with other texts.
//!
//! A list of a million URLs has a million texts of about 40 bytes. A `Box<str>` each would cost as much again for the
//! bookkeeping of the allocator, and a file name that is the end of a URL would be stored twice.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Longer texts are not packed: they gain nothing.
const MAX_PACKED: usize = 16 * 1024;

/// Immutable text: a chunk, or a range of one. A clone copies no text.
#[derive(Clone)]
pub struct SharedText {
    chunk: Arc<Box<str>>,
    start: u32,
    /// The length in bytes, or [`WHOLE`].
    length: u32,
}

/// The length that stands for the whole chunk, which may be longer than 4 GiB.
const WHOLE: u32 = u32::MAX;

impl SharedText {
    /// Returns a part of this text, which shares its memory.
    ///
    /// # Panics
    ///
    /// If the range is not within the text, or does not lie on character boundaries: like slicing a `str`.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let text = &self[range.clone()];
        let start = u32::try_from(range.start).ok().and_then(|start| start.checked_add(self.start));
        match (start, u32::try_from(text.len())) {
            (Some(start), Ok(length)) if length != WHOLE => Self { chunk: Arc::clone(&self.chunk), start, length },
            _ => text.to_owned().into(),
        }
    }

    const fn is_whole_chunk(&self) -> bool {
        self.length == WHOLE
    }
}

/// Moves texts that have an allocation of their own to a common one. The order of the texts does not matter.
///
/// The common allocation lives as long as any of them, so they should be texts that are dropped together. Call it for
/// about a thousand at a time: for fewer, their bookkeeping counts; more are in memory twice for a moment.
pub fn pack<'a>(texts: impl IntoIterator<Item = &'a mut SharedText>) {
    let texts: Vec<_> = texts.into_iter().filter(|text| text.is_whole_chunk() && text.len() <= MAX_PACKED).collect();
    let mut chunk = String::with_capacity(texts.iter().map(|text| text.len()).sum());
    let mut packed = Vec::with_capacity(texts.len());
    for text in texts {
        // Texts beyond the first 4 GiB stay where they are.
        if let (Ok(start), Ok(length)) = (u32::try_from(chunk.len()), u32::try_from(text.len())) {
            chunk.push_str(text);
            packed.push((text, start, length));
        }
    }
    let chunk = Arc::new(chunk.into_boxed_str());
    for (text, start, length) in packed {
        *text = SharedText { chunk: Arc::clone(&chunk), start, length };
    }
}

impl Deref for SharedText {
    type Target = str;

    fn deref(&self) -> &str {
        if self.is_whole_chunk() {
            return &self.chunk;
        }
        let start = self.start as usize;
        &self.chunk[start..start + self.length as usize]
    }
}

impl From<String> for SharedText {
    fn from(text: String) -> Self {
        Self { chunk: Arc::new(text.into()), start: 0, length: WHOLE }
    }
}

impl PartialEq for SharedText {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SharedText {}

impl Hash for SharedText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for SharedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(all: &[&str]) -> Vec<SharedText> {
        all.iter().map(|text| SharedText::from((*text).to_owned())).collect()
    }

    #[test]
    fn packed_texts_share_an_allocation_and_stay_the_same() {
        let all = ["http://h/a", "", "é", "http://h/b"];
        let mut packed = texts(&all);
        pack(&mut packed);
        assert_eq!(packed, texts(&all));
        assert!(packed.iter().all(|text| Arc::ptr_eq(&text.chunk, &packed[0].chunk)));
        assert_eq!(packed[0].chunk.len(), all.iter().map(|text| text.len()).sum::<usize>());
    }

    #[test]
    fn only_short_texts_with_an_allocation_of_their_own_are_moved() {
        let mut packed = texts(&["ab", &"x".repeat(MAX_PACKED + 1), "cd"]);
        packed.push(packed[0].slice(1..2));
        let chunks: Vec<_> = packed.iter().map(|text| Arc::clone(&text.chunk)).collect();
        pack(&mut packed);
        let has_moved = |index: usize| !Arc::ptr_eq(&packed[index].chunk, &chunks[index]);
        assert_eq!([0, 1, 2, 3].map(has_moved), [true, false, true, false]);
        assert_eq!([&*packed[0], &*packed[2], &*packed[3]], ["ab", "cd", "b"]);
    }

    #[test]
    fn a_slice_of_a_slice_shares_the_memory_of_the_whole() {
        let whole = SharedText::from("http://h/dir/name".to_owned());
        let name = whole.slice(9..17).slice(4..8);
        assert_eq!(&*name, "name");
        assert!(Arc::ptr_eq(&whole.chunk, &name.chunk));
        assert_eq!(&*whole.slice(17..17), "");
    }

    #[test]
    fn a_text_takes_at_most_16_bytes() {
        assert!(size_of::<SharedText>() <= 16);
        assert_eq!(size_of::<SharedText>(), size_of::<Option<SharedText>>());
    }
}
