//! Whether an existing file came from a download's sources.

use super::source::Source;
use crate::url::SourceId;

/// Where an existing file came from, as far as its mark tells. That it has not been changed since is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It has no mark: tdl did not fetch it, or the file system cannot keep one.
    Unknown,
    /// It was fetched from a source of the download.
    SameSource,
    /// It was fetched from another URL.
    AnotherUrl,
}

impl Origin {
    /// Compares the mark of a file with the sources of a download.
    pub fn of(mark: Option<SourceId>, sources: &[Source]) -> Self {
        match mark {
            None => Self::Unknown,
            Some(mark) if sources.iter().any(|source| source.url.source_id() == mark) => Self::SameSource,
            Some(_) => Self::AnotherUrl,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::WebUrl;

    #[test]
    fn a_file_from_any_source_is_from_the_same_source() {
        let url = |text| WebUrl::parse(text).unwrap();
        let sources = ["http://h/a", "http://mirror/a"].map(|text| Source::from(url(text)));
        for (mark, origin) in [
            (None, Origin::Unknown),
            (Some("http://h/a"), Origin::SameSource),
            (Some("http://user:word@mirror/a"), Origin::SameSource),
            (Some("http://h/b"), Origin::AnotherUrl),
        ] {
            assert_eq!(Origin::of(mark.map(|text| url(text).source_id()), &sources), origin, "{mark:?}");
        }
    }
}
