//! One file to get: its sources, its target, and what is known about it in advance.

use super::name::SafeName;
use super::position::Position;
use super::query_name::query_suffix;
use super::source::{Details, Expected, Source};
use super::sums::Sums;
use super::target::Target;
use crate::url::WebUrl;

/// One file to get.
// A plan may hold millions, so it takes 48 bytes.
#[derive(Debug, Clone)]
pub struct Download {
    position: Position,
    place: u32,
    target: Target,
    details: Details,
}

impl Download {
    pub(super) const fn new(position: Position, place: u32, target: Target, details: Details) -> Self {
        Self { position, place, target, details }
    }

    /// Returns its position in the plan, from 0.
    #[must_use]
    pub const fn id(&self) -> usize {
        self.position.id() as usize
    }

    /// Whether its list entry gave the name of the target, which then nothing else chooses.
    #[must_use]
    pub const fn is_named(&self) -> bool {
        self.position.is_named()
    }

    /// Returns the number that its entry was given with [`Entry::with_place`](crate::Entry::with_place); 0 without.
    #[must_use]
    pub const fn place(&self) -> u32 {
        self.place
    }

    /// Returns the URL of its first source, which identifies it in messages.
    #[must_use]
    pub fn url(&self) -> &WebUrl {
        self.details.url()
    }

    /// Returns the targets that it may have been given if the list did not name it: the name in its URL, and the same with
    /// the query. Each may have been numbered.
    #[must_use]
    pub fn possible_targets(&self) -> Vec<Target> {
        let by_url = self.target.with_name(&SafeName::from_url(self.url()));
        let by_query = query_suffix(self.url()).map(|suffix| by_url.with_suffix(&suffix));
        std::iter::once(by_url).chain(by_query).collect()
    }

    /// Adds the digests that checksum files give for its target.
    pub(super) fn add_digests(&mut self, sums: &mut Sums) {
        for digest in sums.take(&self.target) {
            self.details.add_digest(*digest);
        }
    }

    pub(super) const fn details(&self) -> &Details {
        &self.details
    }

    /// Returns its sources in order of preference. There is at least one.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        self.details.sources()
    }

    /// Whether the headers that the user gave for every URL are sent to one of its sources. They may be credentials, so
    /// mirrors elsewhere do not get them.
    #[must_use]
    pub fn sends_common_headers_to(&self, source: &Source) -> bool {
        source.url == *self.url() || source.url.origin() == self.url().origin()
    }

    /// Returns the path that the finished file will have, below the output directory.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Returns what is known about the file in advance.
    #[must_use]
    pub fn expected(&self) -> &Expected {
        self.details.expected()
    }
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;

    #[test]
    fn a_download_takes_48_bytes() {
        assert_eq!(size_of::<Download>(), 48);
    }
}
