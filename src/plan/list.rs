//! Reading a plain list: one URL a line. Every error names its file and line.

use std::fmt;

use crate::text::safe;
use crate::url::{UrlError, WebUrl};

/// The URLs of a list in their order.
///
/// A byte-order mark, carriage returns, blank lines and lines that begin with `#` are passed over, and so is the
/// white space around a URL. `name` is what the list is called in errors.
///
/// # Errors
///
/// Every line that is no absolute http or https URL, in order.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Vec<WebUrl>, Vec<ListError>> {
    let refuse = |line, problem| ListError { list: name.to_owned(), line, problem };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(vec![refuse(1, Problem::Utf16)]);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut urls = Vec::new();
    let mut errors = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        match std::str::from_utf8(line).map(str::trim) {
            Err(_) => errors.push(refuse(index + 1, Problem::NotUtf8)),
            Ok(line) if line.is_empty() || line.starts_with('#') => {}
            Ok(line) => match WebUrl::parse(line) {
                Ok(url) => urls.push(url),
                Err(error) => errors.push(refuse(index + 1, Problem::Url(error))),
            },
        }
    }
    if errors.is_empty() { Ok(urls) } else { Err(errors) }
}

/// A line of a list that is no download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListError {
    list: String,
    line: usize,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    Url(UrlError),
    NotUtf8,
    Utf16,
}

impl std::error::Error for ListError {}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", safe(&self.list), self.line)?;
        match &self.problem {
            Problem::Url(error) => error.fmt(f),
            Problem::NotUtf8 => f.write_str("the line is not UTF-8 text"),
            Problem::Utf16 => f.write_str("the list is UTF-16; save it as UTF-8"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(list: &[u8]) -> Vec<String> {
        parse("urls.txt", list).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_list_is_read_whatever_wrote_it() {
        let list =
            b"\xef\xbb\xbf# a comment\r\nhttp://h/a\r\n\r\n  http://h/b  \n\thttp://h/c\n#http://h/no\nhttp://h/d";
        let urls: Vec<_> = parse("l", list).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(urls, ["http://h/a", "http://h/b", "http://h/c", "http://h/d"]);
        assert_eq!(parse("l", b""), Ok(vec![]));
        assert_eq!(parse("l", b"# nothing\n\n"), Ok(vec![]));
    }

    #[test]
    fn every_wrong_line_is_named() {
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
            ["urls.txt:1: 'http://a\\u{9}http://b' has a tab in it; give each URL a line of its own"]
        );
        assert_eq!(messages(b"\xff\xfeh\0t\0"), ["urls.txt:1: the list is UTF-16; save it as UTF-8"]);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let _ = parse("l", &bytes);
        }
    }
}
