//! A URL that can be asked for and shown: absolute, http or https, with a host, and redacting itself
//! whenever it is displayed. What the user typed is judged here, with the mend that it likely needs.

use std::fmt;

use ::url::Url;

use crate::text::safe;

/// An absolute http or https URL without a fragment.
///
/// `Display` and `Debug` leave out user info and mask the values of the query;
/// [`unredacted`](Self::unredacted) is for requests and for lists that must work again.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WebUrl(Url);

impl WebUrl {
    /// Reads a URL as a user writes it.
    ///
    /// Stricter than the URL standard, which would take `http:host`, backslashes and tabs inside a
    /// URL in silence: what it would mend without a word is refused here, with the mend in the message.
    ///
    /// # Errors
    ///
    /// [`UrlError`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let refuse = |problem| UrlError {
            text: text.to_owned(),
            problem,
        };
        if let Some(c) = text.chars().find(char::is_ascii_control) {
            return Err(refuse(Problem::Control(c)));
        }
        if text.contains(" http://") || text.contains(" https://") {
            return Err(refuse(Problem::Several));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(refuse(Problem::NotAbsolute(likely_meant(text))));
        };
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(refuse(Problem::Scheme));
        }
        if rest.starts_with(['/', '\\', '?', '#']) || rest.is_empty() {
            return Err(refuse(Problem::Malformed("no host".to_owned())));
        }
        let url = Url::parse(text).map_err(|e| refuse(Problem::Malformed(e.to_string())))?;
        Self::from_url(url).ok_or_else(|| refuse(Problem::Scheme))
    }

    /// What `reference` means when this URL's answer names it (RFC 3986, section 5);
    /// `None` where that is no http or https URL.
    #[must_use]
    pub fn join(&self, reference: &str) -> Option<Self> {
        Self::from_url(self.0.join(reference).ok()?)
    }

    fn from_url(mut url: Url) -> Option<Self> {
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return None;
        }
        url.set_fragment(None);
        Some(Self(url))
    }

    /// The whole URL, with user info and query.
    #[must_use]
    pub fn unredacted(&self) -> &str {
        self.0.as_str()
    }

    /// The last part of the path, still percent-encoded; empty where the path ends in a slash.
    #[must_use]
    pub fn last_segment(&self) -> &str {
        self.0.path().rsplit('/').next().unwrap_or_default()
    }

    /// Whether this is an https URL.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Host and port, which share one limit on requests in flight.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        format!(
            "{host}:{}",
            self.0.port_or_known_default().unwrap_or_default()
        )
    }

    /// Scheme, host and port (RFC 6454), as one comparable text: credentials for an origin are for no other.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// User name and password, if the URL has any, percent-decoded.
    #[must_use]
    pub fn credentials(&self) -> Option<(String, Option<String>)> {
        let decoded = |text: &str| percent_decoded(text);
        let password = self.0.password().map(decoded);
        (!self.0.username().is_empty() || password.is_some())
            .then(|| (decoded(self.0.username()), password))
    }

    /// The same URL without user name and password.
    #[must_use]
    pub fn without_credentials(&self) -> Self {
        let mut url = self.0.clone();
        // Both fail only for URLs that cannot have user info; those with a host can.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Self(url)
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.without_credentials();
        let text = shown.0.as_str();
        let Some((before, query)) = text.split_once('?') else {
            return f.write_str(text);
        };
        write!(f, "{before}?{}", redacted_query(query))
    }
}

impl fmt::Debug for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebUrl({self})")
    }
}

/// Percent-decodes once (RFC 3986, section 2.1); bytes that are not UTF-8 stay encoded.
#[must_use]
pub fn percent_decoded(text: &str) -> String {
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(text).collect();
    text_of_bytes(&bytes)
}

/// Bytes as text, those that are not UTF-8 percent-encoded.
#[must_use]
pub fn text_of_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(
            chunk
                .invalid()
                .iter()
                .map(|byte| percent_encoding::percent_encode_byte(*byte)),
        );
    }
    text
}

/// Names of parameters stay, values go; a parameter without a name may be a token, and goes whole.
fn redacted_query(query: &str) -> String {
    let parameters = query
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((name, _)) => format!("{name}=***"),
            None if parameter.is_empty() => String::new(),
            None => "***".to_owned(),
        });
    parameters.collect::<Vec<_>>().join("&")
}

/// Why a text is no URL that tdl can ask for. Shows the text redacted, and the likely mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlError {
    text: String,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    /// No `://`; with the URL that was likely meant.
    NotAbsolute(Option<String>),
    Scheme,
    Control(char),
    Several,
    Malformed(String),
}

impl std::error::Error for UrlError {}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = redacted_text(&self.text);
        match &self.problem {
            Problem::NotAbsolute(None) => write!(f, "'{text}' is not an absolute URL"),
            Problem::NotAbsolute(Some(meant)) => {
                write!(
                    f,
                    "'{text}' is not an absolute URL; did you mean {}?",
                    redacted_text(meant)
                )
            }
            Problem::Scheme => write!(
                f,
                "'{text}' is not an http or https URL; tdl speaks only these"
            ),
            Problem::Control('\t') => {
                write!(
                    f,
                    "'{text}' has a tab in it; give each URL a line of its own"
                )
            }
            Problem::Control(c) => {
                write!(
                    f,
                    "'{text}' has the control character {} in it; percent-encode it",
                    c.escape_unicode()
                )
            }
            Problem::Several => write!(
                f,
                "'{text}' holds several URLs; give each a line of its own"
            ),
            Problem::Malformed(why) => write!(f, "'{text}' is not a URL: {why}"),
        }
    }
}

/// A text that may hold a password or a token, as [`WebUrl`] would show it, and not too long to read.
fn redacted_text(text: &str) -> String {
    const LONGEST: usize = 100;
    let (before, query) = text.split_once('?').unzip();
    let mut shown = before.unwrap_or(text).to_owned();
    if let Some(start) = shown.find("://").map(|at| at + 3) {
        let authority = &shown[start..];
        let end = authority.find('/').unwrap_or(authority.len());
        if let Some(at) = authority[..end].rfind('@') {
            shown.replace_range(start..=start + at, "");
        }
    }
    if let Some(query) = query {
        shown = format!("{shown}?{}", redacted_query(query));
    }
    if shown.chars().count() > LONGEST {
        shown = shown.chars().take(LONGEST).chain(['…']).collect();
    }
    safe(&shown).to_string()
}

/// The URL behind the usual slips: a forgotten or half-typed scheme.
fn likely_meant(text: &str) -> Option<String> {
    for scheme in ["https", "http"] {
        let after = text
            .get(..scheme.len())
            .filter(|start| start.eq_ignore_ascii_case(scheme));
        if let Some(rest) = after.and_then(|_| text[scheme.len()..].strip_prefix([':', '/'])) {
            let rest = rest.trim_start_matches([':', '/', '\\']);
            return (!rest.is_empty()).then(|| format!("{scheme}://{rest}"));
        }
    }
    let host = text.split(['/', ':']).next()?;
    let label =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '-');
    let is_host = host == "localhost" || (host.contains('.') && host.split('.').all(label));
    (is_host && !text.contains(' ')).then(|| format!("https://{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> WebUrl {
        WebUrl::parse(text).unwrap()
    }

    #[test]
    fn a_shown_url_has_no_credentials_and_no_values() {
        for (given, shown) in [
            (
                "http://user:secret@host/a?token=secret&b",
                "http://host/a?token=***&***",
            ),
            ("https://host:8443/a%20b#secret", "https://host:8443/a%20b"),
            ("http://host?", "http://host/?"),
            ("HTTP://HOST/ü", "http://host/%C3%BC"),
        ] {
            assert_eq!(url(given).to_string(), shown);
            assert!(!format!("{:?}", url(given)).contains("secret"));
        }
    }

    #[test]
    fn what_is_no_absolute_web_url_is_refused_with_the_likely_mend() {
        for (text, message) in [
            ("not a url", "'not a url' is not an absolute URL"),
            ("", "'' is not an absolute URL"),
            (
                "example.com/x",
                "'example.com/x' is not an absolute URL; did you mean https://example.com/x?",
            ),
            (
                "localhost:80/x",
                "'localhost:80/x' is not an absolute URL; did you mean https://localhost:80/x?",
            ),
            (
                "http:/host/x",
                "'http:/host/x' is not an absolute URL; did you mean http://host/x?",
            ),
            (
                "https//host/x",
                "'https//host/x' is not an absolute URL; did you mean https://host/x?",
            ),
            ("mailto:me@host", "'mailto:me@host' is not an absolute URL"),
            (
                "ftp://u:secret@host/x",
                "'ftp://host/x' is not an http or https URL; tdl speaks only these",
            ),
            (
                "http://a\thttp://b",
                "'http://a\\u{9}http://b' has a tab in it; give each URL a line of its own",
            ),
            (
                "http://a http://b",
                "'http://a http://b' holds several URLs; give each a line of its own",
            ),
            ("http://", "'http://' is not a URL: no host"),
            ("http:///x", "'http:///x' is not a URL: no host"),
            (
                "http://host:99999/",
                "'http://host:99999/' is not a URL: invalid port number",
            ),
            (
                "http://h/\u{1b}[2J",
                "'http://h/\\u{1b}[2J' has the control character \\u{1b} in it; percent-encode it",
            ),
        ] {
            assert_eq!(WebUrl::parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn origin_is_scheme_host_and_port() {
        let base = url("http://u:p@host/a");
        for (other, same) in [
            ("http://HOST:80/b", true),
            ("https://host/a", false),
            ("http://host:81/a", false),
            ("http://sub.host/a", false),
        ] {
            assert_eq!(base.origin() == url(other).origin(), same, "{other}");
        }
        assert_eq!(base.host(), "host:80");
    }

    #[test]
    fn credentials_are_decoded_and_can_be_taken_off() {
        let given = url("http://us%40er:p%3Aw@host/");
        assert_eq!(
            given.credentials(),
            Some(("us@er".to_owned(), Some("p:w".to_owned())))
        );
        assert_eq!(given.without_credentials().unredacted(), "http://host/");
        assert_eq!(url("http://host/").credentials(), None);
    }

    #[test]
    fn decoding_happens_once_and_keeps_what_is_not_utf8() {
        for (text, decoded) in [
            ("a%20b", "a b"),
            ("%252e", "%2e"),
            ("caf%C3%A9", "café"),
            ("caf%E9.txt", "caf%E9.txt"),
            ("100%", "100%"),
            ("%zz", "%zz"),
        ] {
            assert_eq!(percent_decoded(text), decoded);
        }
    }
}
