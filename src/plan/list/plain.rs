//! The plain list format: one URL per line, with blank lines and `#` comments.

use super::error::{ListError, Problem};
use crate::plan::entry::Entry;
use crate::url::WebUrl;

/// How many URLs are packed at a time.
const BATCH: usize = 1000;

/// Parses a plain list that is in memory. [`PlainParser`] parses one that is not.
///
/// # Errors
///
/// Returns an error for each invalid line, in order: one that is not an absolute http or https URL, for example.
pub fn parse_plain(name: &str, bytes: &[u8]) -> Result<Vec<Entry>, Vec<ListError>> {
    let mut parser = PlainParser::new(name);
    bytes.split(|byte| *byte == b'\n').for_each(|line| parser.push_line(line));
    parser.finish()
}

/// Parses a plain list, which has one URL per line, line by line.
///
/// Skips a byte-order mark, carriage returns, blank lines, lines that begin with `#`, and white space around URLs.
#[derive(Debug)]
pub struct PlainParser {
    name: String,
    lines: u32,
    /// The place of the line before the first.
    start: u32,
    entries: Vec<Entry>,
    errors: Vec<ListError>,
    is_utf16: bool,
}

impl PlainParser {
    /// Creates a parser. `name` identifies the list in errors.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let (name, entries, errors) = (name.to_owned(), Vec::new(), Vec::new());
        Self { name, lines: 0, start: 0, entries, errors, is_utf16: false }
    }

    /// Counts the places of the entries from `start`: that of line *n* is `start` + *n*.
    #[must_use]
    pub const fn with_start(mut self, start: u32) -> Self {
        self.start = start;
        self
    }

    /// How many lines there were.
    #[must_use]
    pub const fn lines(&self) -> u32 {
        self.lines
    }

    /// Whether there are errors that have not been [taken](Self::take).
    #[must_use]
    pub const fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Parses the next line, with or without the `\n` at its end.
    pub fn push_line(&mut self, mut line: &[u8]) {
        self.lines = self.lines.saturating_add(1);
        if self.lines == 1 {
            self.is_utf16 = line.starts_with(&[0xff, 0xfe]) || line.starts_with(&[0xfe, 0xff]);
            if self.is_utf16 {
                self.errors.push(ListError::new(&self.name, 1, Problem::Utf16));
            }
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if self.is_utf16 {
            // Its other lines cannot be read either.
            return;
        }
        match parse_line(line) {
            Ok(Some(url)) => self.push(url),
            Ok(None) => {}
            Err(problem) => self.errors.push(ListError::new(&self.name, self.lines, problem)),
        }
    }

    /// Takes what was parsed since the last call: the entries, and an error for each invalid line.
    pub fn take(&mut self) -> (Vec<Entry>, Vec<ListError>) {
        self.pack_last_batch();
        (std::mem::take(&mut self.entries), std::mem::take(&mut self.errors))
    }

    /// Returns the entries in order.
    ///
    /// # Errors
    ///
    /// Returns an error for each invalid line, in order: one that is not an absolute http or https URL, for example.
    pub fn finish(mut self) -> Result<Vec<Entry>, Vec<ListError>> {
        self.pack_last_batch();
        if self.errors.is_empty() { Ok(self.entries) } else { Err(self.errors) }
    }

    fn push(&mut self, url: WebUrl) {
        self.entries.push(Entry::from(url).with_place(self.start.saturating_add(self.lines)));
        if self.entries.len().is_multiple_of(BATCH) {
            self.pack_last_batch();
        }
    }

    fn pack_last_batch(&mut self) {
        let start = self.entries.len().saturating_sub(1) / BATCH * BATCH;
        Entry::pack(&mut self.entries[start..]);
    }
}

/// Returns the URL of a line, or `None` for a blank line or a comment.
fn parse_line(line: &[u8]) -> Result<Option<WebUrl>, Problem> {
    let line = std::str::from_utf8(line).map_err(|_| Problem::NotUtf8)?.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    WebUrl::parse(line).map(Some).map_err(Problem::Url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(list: &[u8]) -> Vec<String> {
        parse_plain("urls.txt", list).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn accepts_lists_from_any_editor() {
        let list =
            b"\xef\xbb\xbf# a comment\r\nhttp://h/a\r\n\r\n  http://h/b  \n\thttp://h/c\n#http://h/no\nhttp://h/d";
        let entries = parse_plain("l", list).unwrap();
        let found: Vec<_> = entries.iter().map(|entry| (entry.sources()[0].url.to_string(), entry.place)).collect();
        let expected = [("http://h/a", 2), ("http://h/b", 4), ("http://h/c", 5), ("http://h/d", 7)];
        assert_eq!(found, expected.map(|(url, line)| (url.to_owned(), line)));
        assert_eq!(parse_plain("l", b""), Ok(vec![]));
        assert_eq!(parse_plain("l", b"# nothing\n\n"), Ok(vec![]));
    }

    #[test]
    fn every_invalid_line_is_reported() {
        assert_eq!(
            messages(b"http://h/a\nnot a url\n\nexample.com/x\nhttp://h/\xff\n"),
            [
                "urls.txt:2: 'not a url' is not an absolute URL",
                "urls.txt:4: 'example.com/x' is not an absolute URL; did you mean https://example.com/x?",
                "urls.txt:5: the line is not UTF-8 text",
            ]
        );
        assert_eq!(
            messages(b"http://a\thttp://b"),
            [
                "urls.txt:1: 'http://a\\u{9}http://b' contains a tab; put each URL on its own line or in its own argument"
            ]
        );
        assert_eq!(messages(b"\xff\xfeh\0t\0"), ["urls.txt:1: the list is UTF-16; save it as UTF-8"]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let _ = parse_plain("l", &bytes);
        }
    }
}
