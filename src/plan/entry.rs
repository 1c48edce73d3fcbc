//! One entry of a list, before the plan makes a download of it.

use super::layout::Layout;
use super::position::Position;
use super::source::{Details, Expected, Source};
use super::target::Target;
use crate::digest::Digest;
use crate::options::Header;
use crate::url::WebUrl;

/// One entry of a list: the URLs that a file can come from, and optionally its name, length and digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub(super) details: Details,
    pub(super) target: Option<Target>,
    pub(super) place: u32,
    /// Its position in the plan, which is part of the entry so that both are as large as a download: see `Plan::new`. And
    /// whether the list gave the target's name; otherwise the plan may give it another one.
    pub(super) position: Position,
}

impl From<WebUrl> for Entry {
    /// Creates an entry with one source. The file is named after the URL.
    fn from(url: WebUrl) -> Self {
        Self { details: url.into(), target: None, place: 0, position: Position::default() }
    }
}

impl Entry {
    /// Adds a mirror: another source of the same file. It is used if the sources before it fail.
    #[must_use]
    pub fn with_mirror(mut self, url: WebUrl) -> Self {
        self.details = self.details.with_source(url);
        self
    }

    /// Adds a header to the source that was added last.
    #[must_use]
    pub fn with_header(mut self, header: Header) -> Self {
        self.details = self.details.with_header(header);
        self
    }

    /// Sets the path of the file below the output directory. No other entry may have it.
    #[must_use]
    pub fn with_target(mut self, target: impl Into<Target>) -> Self {
        (self.target, self.position) = (Some(target.into()), self.position.named(true));
        self
    }

    /// Sets the path that the file has if no other entry wants it.
    pub(super) fn with_wanted_target(mut self, target: Target) -> Self {
        (self.target, self.position) = (Some(target), self.position.named(false));
        self
    }

    /// Puts the file into the directories of a layout, unless the list says where it goes.
    #[must_use]
    pub fn with_layout(self, layout: Layout) -> Self {
        match layout.target(self.details.url()).filter(|_| self.target.is_none()) {
            Some(target) => self.with_wanted_target(target),
            None => self,
        }
    }

    /// Returns what is known about the file in advance.
    #[must_use]
    pub fn expected(&self) -> &Expected {
        self.details.expected()
    }

    /// Sets the length in bytes that the file must have.
    #[must_use]
    pub fn with_length(mut self, length: u64) -> Self {
        self.details = self.details.with_length(length);
        self
    }

    /// Adds a digest that the file must have. All of them are checked.
    #[must_use]
    pub fn with_digest(mut self, digest: Digest) -> Self {
        self.details = self.details.with_digest(digest);
        self
    }

    /// Sets where the entry is from, as a number that means something to the caller. [`Download::place`] returns it.
    ///
    /// [`Download::place`]: crate::Download::place
    #[must_use]
    pub const fn with_place(mut self, place: u32) -> Self {
        self.place = place;
        self
    }

    /// Returns the number that was given with [`with_place`](Self::with_place); 0 without.
    #[must_use]
    pub const fn place(&self) -> u32 {
        self.place
    }

    /// Returns the sources, in order of preference.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        self.details.sources()
    }

    /// Moves the URLs of entries to a common allocation, and their targets to another. A list of a million URLs then
    /// takes half the memory. Call it for about a thousand entries at a time.
    pub fn pack(entries: &mut [Self]) {
        Target::pack(entries.iter_mut().filter_map(|entry| entry.target.as_mut()));
        WebUrl::pack(entries.iter_mut().map(|entry| entry.details.url_mut()));
    }
}
