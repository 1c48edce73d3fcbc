//! Refuses texts that are not absolute http or https URLs as typed, before the URL standard's parser reinterprets them.

use super::error::{Problem, UrlError};

/// Refuses what the URL standard would silently fix or would not explain.
pub fn check(text: &str) -> Result<(), UrlError> {
    let problem = if text.starts_with(['"', '\'', '<', '(']) && text.contains("://") {
        Problem::Quoted
    } else if let Some(c) = text.chars().find(char::is_ascii_control) {
        Problem::Control(c)
    } else if text.contains(" http://") || text.contains(" https://") {
        Problem::Several
    } else {
        match text.split_once("://") {
            None => Problem::NotAbsolute(suggest_url(text)),
            Some((scheme, _)) if !["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web)) => {
                Problem::Scheme
            }
            Some((_, rest)) if rest.is_empty() || rest.starts_with(['/', '?', '#']) => {
                Problem::Malformed("no host".to_owned())
            }
            Some((_, rest)) if rest.contains('\\') => Problem::Backslash,
            Some(_) => return Ok(()),
        }
    };
    Err(UrlError { text: text.to_owned(), problem })
}

/// Guesses the URL behind a common mistake: a missing or mistyped scheme.
fn suggest_url(text: &str) -> Option<String> {
    for scheme in ["https", "http"] {
        let after = text.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme));
        if let Some(rest) = after.and_then(|_| text[scheme.len()..].strip_prefix([':', '/'])) {
            let rest = rest.trim_start_matches([':', '/', '\\']);
            return (!rest.is_empty()).then(|| format!("{scheme}://{rest}"));
        }
    }
    let host = text.split(['/', ':']).next()?;
    let label = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '-');
    let is_host = host == "localhost" || (host.contains('.') && host.split('.').all(label));
    (is_host && !text.contains(' ')).then(|| format!("https://{text}"))
}

#[cfg(test)]
mod tests {
    use crate::url::WebUrl;

    #[test]
    fn a_text_that_is_not_an_absolute_web_url_is_refused_with_a_suggestion() {
        for (text, message) in [
            ("not a url", "'not a url' is not an absolute URL"),
            ("", "'' is not an absolute URL"),
            ("example.com/x", "'example.com/x' is not an absolute URL; did you mean https://example.com/x?"),
            ("localhost:80/x", "'localhost:80/x' is not an absolute URL; did you mean https://localhost:80/x?"),
            ("http:/host/x", "'http:/host/x' is not an absolute URL; did you mean http://host/x?"),
            ("https//host/x", "'https//host/x' is not an absolute URL; did you mean https://host/x?"),
            ("mailto:me@host", "'host' is not an absolute URL"),
            ("s3://u:secret@host/x", "'s3://host/x' is not an http or https URL; tdl supports only these"),
            (
                "ftp://u:secret@host/x",
                "'ftp://host/x' is not an http or https URL; many FTP servers answer https as well: try https://host/x",
            ),
            (
                "http://a\thttp://b",
                "'http://a\\u{9}http://b' contains a tab; put each URL on its own line or in its own argument",
            ),
            (
                "http://a http://b",
                "'http://a http://b' contains several URLs; put each on its own line or in its own argument",
            ),
            ("<http://h/a>", "<http://h/a> is not an absolute URL; remove the quotes or brackets around it"),
            ("http://h\\a", "'http://h\\a' contains a backslash; write / or %5C"),
            ("http://", "'http://' is not a URL: no host"),
            ("http:///x", "'http:///x' is not a URL: no host"),
            ("http://host:99999/", "'http://host:99999/' is not a URL: invalid port number"),
            ("http://h/\u{1b}[2J", "'http://h/\\u{1b}[2J' contains the control character \\u{1b}; percent-encode it"),
        ] {
            assert_eq!(WebUrl::parse(text).unwrap_err().to_string(), message);
        }
    }
}
