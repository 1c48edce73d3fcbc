//! One file to get: its sources, its target, and what is known about it in advance.

use crate::error::Error;
use crate::options::Header;
use crate::url::WebUrl;

use super::target::Target;

/// One file to get.
#[derive(Debug, Clone)]
pub struct Download {
    id: usize,
    sources: Box<[Source]>,
    target: Target,
    expected: Expected,
}

/// A URL that a download can come from. Several sources of one download are mirrors.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Source {
    /// The URL to request.
    pub url: WebUrl,
    /// Headers for this source only. Like all headers, they are sent only to the URL's own origin.
    pub headers: Vec<Header>,
}

/// What a list says about a file before it is downloaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expected {
    /// The length in bytes. A download fails if its file has any other length.
    pub length: Option<u64>,
}

impl Download {
    /// Creates a download. `sources` must not be empty.
    pub(super) fn new(id: usize, sources: Vec<Source>, target: Target, expected: Expected) -> Self {
        Self { id, sources: sources.into(), target, expected }
    }

    /// Returns its position in the plan, from 0.
    #[must_use]
    pub const fn id(&self) -> usize {
        self.id
    }

    /// Returns the URL of its first source, which identifies it in messages.
    #[must_use]
    pub fn url(&self) -> &WebUrl {
        &self.sources[0].url
    }

    /// Returns its sources in order of preference. There is at least one.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Returns the path that the finished file will have, below the output directory.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Returns what is known about the file in advance.
    #[must_use]
    pub const fn expected(&self) -> &Expected {
        &self.expected
    }
}

impl Expected {
    /// Checks the length of a file.
    pub(crate) fn check_length(&self, length: u64) -> Result<(), Error> {
        match self.length {
            Some(expected) if expected != length => Err(Error::UnexpectedLength { length, expected }),
            _ => Ok(()),
        }
    }
}

impl From<WebUrl> for Source {
    /// Creates a source without headers of its own.
    fn from(url: WebUrl) -> Self {
        Self { url, headers: Vec::new() }
    }
}
