//! Where a file can come from, and what is known about it in advance.

use std::slice;

use crate::digest::Digest;
use crate::error::Error;
use crate::options::Header;
use crate::url::WebUrl;

/// A URL that a download can come from. Several sources of one download are mirrors.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Source {
    /// The URL to request.
    pub url: WebUrl,
    headers: Option<Box<Headers>>,
}

/// A pointer to these takes 8 bytes in each [`Source`], most of which have none; a `Vec` would take 24.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Headers(Vec<Header>);

impl Source {
    /// Returns the headers for this source only. Like all headers, they are sent only to the URL's own origin.
    #[must_use]
    pub fn headers(&self) -> &[Header] {
        self.headers.as_ref().map_or(&[], |headers| &headers.0)
    }
}

impl From<WebUrl> for Source {
    /// Creates a source without headers of its own.
    fn from(url: WebUrl) -> Self {
        Self { url, headers: None }
    }
}

/// What a list says about a file before it is downloaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expected {
    /// The length in bytes. A download fails if its file has any other length.
    pub length: Option<u64>,
    /// The digests. A download fails if its file has any other.
    pub digests: Vec<Digest>,
}

/// Nothing is known.
static NOTHING: Expected = Expected { length: None, digests: Vec::new() };

impl Expected {
    /// Checks the length of a file.
    pub(crate) fn check_length(&self, length: u64) -> Result<(), Error> {
        match self.length {
            Some(expected) if expected != length => Err(Error::UnexpectedLength { length, expected }),
            _ => Ok(()),
        }
    }
}

/// What a list entry says about a file, except its name. Most entries are a URL and nothing else, which takes 24 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details(Repr);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Repr {
    Url(Source),
    More(Box<More>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct More {
    /// At least one.
    sources: Vec<Source>,
    expected: Expected,
}

impl Details {
    /// Returns the sources in order of preference. There is at least one.
    pub fn sources(&self) -> &[Source] {
        match &self.0 {
            Repr::Url(source) => slice::from_ref(source),
            Repr::More(more) => &more.sources,
        }
    }

    /// Returns the URL of the first source.
    pub fn url(&self) -> &WebUrl {
        &self.sources()[0].url
    }

    /// Returns the URL of the first source, to be changed.
    pub fn url_mut(&mut self) -> &mut WebUrl {
        match &mut self.0 {
            Repr::Url(source) => &mut source.url,
            Repr::More(more) => &mut more.sources[0].url,
        }
    }

    pub fn expected(&self) -> &Expected {
        match &self.0 {
            Repr::Url(_) => &NOTHING,
            Repr::More(more) => &more.expected,
        }
    }

    /// Adds a source.
    pub fn with_source(self, url: WebUrl) -> Self {
        let mut more = self.into_more();
        more.sources.push(url.into());
        Self(Repr::More(more))
    }

    /// Adds a header to the source that was added last.
    pub fn with_header(mut self, header: Header) -> Self {
        let last = match &mut self.0 {
            Repr::Url(source) => Some(source),
            Repr::More(more) => more.sources.last_mut(),
        };
        if let Some(source) = last {
            source.headers.get_or_insert_default().0.push(header);
        }
        self
    }

    /// Sets the length in bytes that the file must have.
    pub fn with_length(self, length: u64) -> Self {
        let mut more = self.into_more();
        more.expected.length = Some(length);
        Self(Repr::More(more))
    }

    /// Adds a digest that the file must have.
    pub fn with_digest(self, digest: Digest) -> Self {
        let mut more = self.into_more();
        if !more.expected.digests.contains(&digest) {
            // Most files have one. A list of a million files would waste 200 MiB on room for more.
            more.expected.digests.reserve_exact(1);
            more.expected.digests.push(digest);
        }
        Self(Repr::More(more))
    }

    /// The same in place.
    pub fn add_digest(&mut self, digest: Digest) {
        *self = self.clone().with_digest(digest);
    }

    fn into_more(self) -> Box<More> {
        match self.0 {
            Repr::Url(source) => Box::new(More { sources: vec![source], expected: Expected::default() }),
            Repr::More(more) => more,
        }
    }
}

impl From<WebUrl> for Details {
    fn from(url: WebUrl) -> Self {
        Self(Repr::Url(url.into()))
    }
}
