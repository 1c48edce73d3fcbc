//! What the server was asked.

use std::time::Instant;

/// A request as the server read it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Path and query, as sent.
    pub target: String,
    pub headers: Vec<(String, String)>,
    /// Its number among all requests, from 0.
    pub number: usize,
    /// Its number among those on its connection, from 0.
    pub on_connection: usize,
    /// When it arrived.
    pub at: Instant,
    /// How many requests were being answered at that moment, this one included.
    pub in_flight: usize,
}

impl Request {
    /// The value of a header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The range that the `Range` header asks for, as start and end, of a file of this length.
    pub fn range(&self, length: usize) -> Option<(usize, usize)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let last = if last.is_empty() { length.saturating_sub(1) } else { last.parse().ok()? };
        Some((first.parse().ok()?, last + 1))
    }
}
