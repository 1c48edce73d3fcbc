//! [`WebUrl`]: an absolute http or https URL that redacts itself when displayed.

use std::fmt;

use ::url::Url;
use sha2::{Digest as _, Sha256};

use super::check::check;
use super::error::UrlError;
use super::percent::percent_decode;
use super::redact::redacted_query;
use super::signature::without_signature;

/// An absolute http or https URL without a fragment.
///
/// `Display` and `Debug` omit user info and mask the values of the query. [`unredacted`](Self::unredacted) is for
/// requests, and for lists that must remain usable.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WebUrl(Url);

impl WebUrl {
    /// Parses a URL as typed by a user.
    ///
    /// This is stricter than the URL standard, which silently fixes `http:host`, backslashes and tabs inside a URL.
    /// They are refused here, and the message suggests a fix.
    ///
    /// # Errors
    ///
    /// [`UrlError`], which says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        check(text)?;
        let url = Url::parse(text).map_err(|error| UrlError::malformed(text, &error.to_string()))?;
        Self::from_url(url).ok_or_else(|| UrlError::malformed(text, "no host"))
    }

    /// Resolves a reference found in a response from this URL (RFC 3986, section 5); `None` if the result is not an
    /// http or https URL.
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

    /// The parsed URL.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.0
    }

    /// The last segment of the path, percent-encoded; empty if the path ends in a slash.
    #[must_use]
    pub fn last_segment(&self) -> &str {
        self.0.path().rsplit('/').next().unwrap_or_default()
    }

    /// Whether this is an https URL.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Host and port, as in `example.org:443`. Requests to the same host and port share one limiter.
    #[must_use]
    pub fn host_and_port(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        format!("{host}:{}", self.0.port_or_known_default().unwrap_or_default())
    }

    /// Whether two URLs have the same [host and port](Self::host_and_port).
    #[must_use]
    pub fn has_same_host_and_port(&self, other: &Self) -> bool {
        (self.0.host_str(), self.0.port_or_known_default()) == (other.0.host_str(), other.0.port_or_known_default())
    }

    /// Scheme, host and port (RFC 6454). Credentials for one origin are never sent to another.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// User name and password, if the URL has any, percent-decoded.
    #[must_use]
    pub fn credentials(&self) -> Option<(String, Option<String>)> {
        let password = self.0.password().map(percent_decode);
        (!self.0.username().is_empty() || password.is_some()).then(|| (percent_decode(self.0.username()), password))
    }

    /// A text that identifies the file at this URL: the URL without user info and known signature parameters, and with
    /// a hash instead of the rest of its query, which may contain secrets.
    #[must_use]
    pub fn identity(&self) -> String {
        let mut url = self.without_credentials().0;
        let query = url.query().map(without_signature).filter(|query| !query.is_empty());
        url.set_query(None);
        match query {
            None => url.into(),
            Some(query) => {
                let hash: String = Sha256::digest(query).iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{url}?sha256={hash}")
            }
        }
    }

    /// The same URL without user name and password.
    #[must_use]
    pub fn without_credentials(&self) -> Self {
        let mut url = self.0.clone();
        // Both fail only for URLs without a host.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> WebUrl {
        WebUrl::parse(text).unwrap()
    }

    #[test]
    fn a_displayed_url_has_no_credentials_and_no_query_values() {
        for (given, shown) in [
            ("http://user:secret@host/a?token=secret&b", "http://host/a?token=***&***"),
            ("https://host:8443/a%20b#secret", "https://host:8443/a%20b"),
            ("http://host?", "http://host/?"),
            ("HTTP://HOST/ü", "http://host/%C3%BC"),
        ] {
            assert_eq!(url(given).to_string(), shown);
            assert!(!format!("{:?}", url(given)).contains("secret"));
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
        assert_eq!(base.host_and_port(), "host:80");
    }

    #[test]
    fn credentials_are_decoded_and_can_be_removed() {
        let given = url("http://us%40er:p%3Aw@host/");
        assert_eq!(given.credentials(), Some(("us@er".to_owned(), Some("p:w".to_owned()))));
        assert_eq!(given.without_credentials().unredacted(), "http://host/");
        assert_eq!(url("http://host/").credentials(), None);
    }
}
