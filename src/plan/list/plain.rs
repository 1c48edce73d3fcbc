//! The plain list format: one URL per line, with blank lines and `#` comments.

use super::error::{ListError, Problem};
use crate::url::WebUrl;

/// Parses a plain list, which has one URL per line, and returns the URLs in order.
///
/// Skips a byte-order mark, carriage returns, blank lines, lines that begin with `#`, and white space around URLs.
/// `name` identifies the list in errors.
///
/// # Errors
///
/// Returns an error for each invalid line, in order: one that is not an absolute http or https URL, for example.
pub fn parse_plain(name: &str, bytes: &[u8]) -> Result<Vec<WebUrl>, Vec<ListError>> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(vec![ListError::new(name, 1, Problem::Utf16)]);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut urls = Vec::new();
    let mut errors = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        match parse_line(line) {
            Ok(Some(url)) => urls.push(url),
            Ok(None) => {}
            Err(problem) => errors.push(ListError::new(name, index + 1, problem)),
        }
    }
    if errors.is_empty() { Ok(urls) } else { Err(errors) }
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
        let urls: Vec<_> = parse_plain("l", list).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(urls, ["http://h/a", "http://h/b", "http://h/c", "http://h/d"]);
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
