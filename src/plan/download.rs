//! One file to get: where it can come from, where it goes, and what is known of it beforehand.

use crate::error::Error;
use crate::options::Header;
use crate::url::WebUrl;

use super::target::Target;

/// One file to get.
#[derive(Debug, Clone)]
pub struct Download {
    id: usize,
    sources: Vec<Source>,
    target: Target,
    expected: Expected,
}

/// A URL that a download can come from. Several sources of one download are mirrors.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Source {
    /// Where to ask.
    pub url: WebUrl,
    /// Headers for this source alone. Like all headers, they are sent to the URL's own origin only.
    pub headers: Vec<Header>,
}

/// What a list says about a file before it is downloaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expected {
    /// The length in bytes. A file of any other length fails.
    pub length: Option<u64>,
}

impl Download {
    /// `sources` must not be empty.
    pub(super) const fn new(id: usize, sources: Vec<Source>, target: Target, expected: Expected) -> Self {
        Self { id, sources, target, expected }
    }

    /// Its position in the plan, from 0.
    #[must_use]
    pub const fn id(&self) -> usize {
        self.id
    }

    /// The URL that it is known by: that of its first source.
    #[must_use]
    pub fn url(&self) -> &WebUrl {
        &self.sources[0].url
    }

    /// Where it can come from, in order of preference; never empty.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Where it goes.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// What is known of the file beforehand.
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
    /// A source without headers of its own.
    fn from(url: WebUrl) -> Self {
        Self { url, headers: Vec::new() }
    }
}
