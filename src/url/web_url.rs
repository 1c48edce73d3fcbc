//! [`WebUrl`]: an absolute http or https URL that redacts itself when displayed.

use std::fmt;
use std::ops::Range;

use ::url::Url;
use sha2::{Digest as _, Sha256};

use super::check::check;
use super::error::UrlError;
use super::percent::percent_decode;
use super::redact::redacted_query;
use super::signature::without_signature;
use super::source_id::SourceId;
use crate::text::{SharedText, pack};

/// An absolute http or https URL without a fragment.
///
/// `Display` and `Debug` omit user info and mask the values of the query. [`unredacted`](Self::unredacted) is for
/// requests, and for lists that must remain usable.
// Its text alone, because a plan may hold millions: a `Url` takes 88 bytes beside its text. The text is as a `Url` wrote
// it, so its components are easy to find: `/` ends the authority, where it appears nowhere unencoded.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WebUrl(SharedText);

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
        Self::from_url(Url::parse(&self.0).ok()?.join(reference).ok()?)
    }

    fn from_url(mut url: Url) -> Option<Self> {
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return None;
        }
        url.set_fragment(None);
        Some(Self(String::from(url).into()))
    }

    /// Whether it has a query.
    #[must_use]
    pub fn has_query(&self) -> bool {
        self.0.contains('?')
    }

    /// The whole URL, with user info and query, in the form of the URL standard.
    #[must_use]
    pub fn unredacted(&self) -> &str {
        &self.0
    }

    /// The last segment of the path, percent-encoded; empty if the path ends in a slash.
    #[must_use]
    pub fn last_segment(&self) -> &str {
        &self.0[self.last_segment_range()]
    }

    /// The segments of the path before the last one, percent-encoded, without empty ones.
    pub fn directories(&self) -> impl Iterator<Item = &str> {
        let path = &self.0[self.authority().end..self.last_segment_range().start];
        path.split('/').filter(|segment| !segment.is_empty())
    }

    /// The query, without its `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.0.split_once('?').map(|(_, query)| query)
    }

    /// The host, and the port unless it is the default one.
    #[must_use]
    pub fn host(&self) -> String {
        self.split_authority().1.to_owned()
    }

    /// [`last_segment`](Self::last_segment), in the memory of this URL.
    pub(crate) fn shared_last_segment(&self) -> SharedText {
        self.0.slice(self.last_segment_range())
    }

    /// Whether this is an https URL.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.scheme() == "https"
    }

    /// Host and port, as in `example.org:443`. Requests to the same host and port share one limiter.
    #[must_use]
    pub fn host_and_port(&self) -> String {
        let (host, port) = self.split_port();
        format!("{host}:{port}")
    }

    /// Whether two URLs have the same [host and port](Self::host_and_port).
    #[must_use]
    pub fn has_same_host_and_port(&self, other: &Self) -> bool {
        self.split_port() == other.split_port()
    }

    /// Scheme, host and port (RFC 6454). Credentials for one origin are never sent to another.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.split_authority().1)
    }

    /// User name and password, if the URL has any, percent-decoded.
    #[must_use]
    pub fn credentials(&self) -> Option<(String, Option<String>)> {
        let user_info = self.split_authority().0?;
        let (user, password) = user_info.split_once(':').map_or((user_info, None), |(user, word)| (user, Some(word)));
        Some((percent_decode(user), password.map(percent_decode)))
    }

    /// A text that identifies the file at this URL: the URL without user info and known signature parameters, and with
    /// a hash instead of the rest of its query, which may contain secrets.
    #[must_use]
    pub fn identity(&self) -> String {
        let (mut identity, query) = self.split_query();
        if !query.is_empty() {
            identity += "?sha256=";
            identity.extend(Sha256::digest(query).iter().map(|byte| format!("{byte:02x}")));
        }
        identity
    }

    /// Identifies this URL as the source of a file, like [`identity`](Self::identity), but without naming it.
    pub(crate) fn source_id(&self) -> SourceId {
        let (mut url, query) = self.split_query();
        if !query.is_empty() {
            url.push('?');
            url += &query;
        }
        SourceId::of(&url)
    }

    /// The same URL without user name and password.
    #[must_use]
    pub fn without_credentials(&self) -> Self {
        match self.split_authority() {
            (None, _) => self.clone(),
            (Some(_), host) => Self(format!("{}://{host}{}", self.scheme(), &self.0[self.authority().end..]).into()),
        }
    }

    /// Moves the texts of URLs that are kept together to common allocations.
    pub(crate) fn pack<'a>(urls: impl IntoIterator<Item = &'a mut Self>) {
        pack(urls.into_iter().map(|url| &mut url.0));
    }

    /// Returns the URL without user info and query, and the query without known signature parameters.
    fn split_query(&self) -> (String, String) {
        let url = self.without_credentials();
        match url.0.split_once('?') {
            Some((before, query)) => (before.to_owned(), without_signature(query)),
            None => ((*url.0).to_owned(), String::new()),
        }
    }

    fn scheme(&self) -> &str {
        &self.0[..self.authority().start - "://".len()]
    }

    /// Where user info, host and port are.
    fn authority(&self) -> Range<usize> {
        let start = if self.0.starts_with("https:") { "https://".len() } else { "http://".len() };
        let end = self.0[start..].find('/').map_or(self.0.len(), |length| start + length);
        start..end
    }

    /// Returns the user info, if there is any, and host and port; a default port is omitted.
    fn split_authority(&self) -> (Option<&str>, &str) {
        let authority = &self.0[self.authority()];
        authority.split_once('@').map_or((None, authority), |(user_info, host)| (Some(user_info), host))
    }

    /// Returns host and port.
    fn split_port(&self) -> (&str, &str) {
        let (_, host) = self.split_authority();
        match host.rsplit_once(':') {
            // A colon in brackets is part of an IPv6 address.
            Some((name, port)) if !port.ends_with(']') => (name, port),
            _ => (host, if self.is_https() { "443" } else { "80" }),
        }
    }

    fn last_segment_range(&self) -> Range<usize> {
        let end = self.0.find('?').unwrap_or(self.0.len());
        let start = self.0[..end].rfind('/').map_or(end, |slash| slash + 1);
        start..end
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.authority();
        let (_, host) = self.split_authority();
        f.write_str(&self.0[..authority.start])?;
        f.write_str(host)?;
        let rest = &self.0[authority.end..];
        match rest.split_once('?') {
            None => f.write_str(rest),
            Some((path, query)) => write!(f, "{path}?{}", redacted_query(query)),
        }
    }
}

impl fmt::Debug for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> WebUrl {
        WebUrl::parse(text).unwrap()
    }

    #[test]
    fn a_displayed_url_has_no_credentials_and_no_secrets_in_its_query() {
        for (given, shown) in [
            ("http://user:secret@host/a?token=secret&b", "http://host/a?token=***&b"),
            ("https://host:8443/a%20b#secret", "https://host:8443/a%20b"),
            ("http://host?", "http://host/?"),
            ("HTTP://HOST/ü", "http://host/%C3%BC"),
        ] {
            assert_eq!(url(given).to_string(), shown);
            assert!(!format!("{:?}", url(given)).contains("secret"));
        }
    }

    proptest! {
        #[test]
        fn its_components_are_those_of_the_standard(
            scheme in "https?|HTTP", user in "([^/?#\\\\]{0,6}@)?", host in "[a-z.]{1,9}|\\[::1\\]|127\\.1|ü\\.x",
            port in "|:|:80|:443|:8080", rest in "([/?].{0,12})?",
        ) {
            let Ok(url) = WebUrl::parse(&format!("{scheme}://{user}{host}{port}{rest}")) else { return Ok(()) };
            let mut parsed = Url::parse(url.unredacted()).unwrap();
            prop_assert_eq!(parsed.as_str(), url.unredacted());
            prop_assert_eq!((url.scheme(), url.origin()), (parsed.scheme(), parsed.origin().ascii_serialization()));
            let host_and_port = format!("{}:{}", parsed.host_str().unwrap(), parsed.port_or_known_default().unwrap());
            prop_assert_eq!(url.host_and_port(), host_and_port);
            prop_assert_eq!(Some(url.last_segment()), parsed.path().rsplit('/').next());
            prop_assert_eq!(&*url.shared_last_segment(), url.last_segment());
            let has_credentials = !parsed.username().is_empty() || parsed.password().is_some();
            let credentials = (percent_decode(parsed.username()), parsed.password().map(percent_decode));
            prop_assert_eq!(url.credentials(), Some(credentials).filter(|_| has_credentials));
            parsed.set_username("").unwrap();
            parsed.set_password(None).unwrap();
            let without_credentials = url.without_credentials();
            prop_assert_eq!(without_credentials.unredacted(), parsed.as_str());
            parsed.set_query(None);
            for text in [url.identity(), url.to_string()] {
                prop_assert_eq!(text.split('?').next(), Some(parsed.as_str()));
            }
        }
    }

    #[test]
    fn a_source_is_the_same_with_other_credentials_and_another_signature() {
        let base = url("https://host/a?id=1").source_id();
        for (other, same) in [
            ("https://user:word@HOST:443/a?id=1#top", true),
            ("https://host/a?id=1&X-Amz-Date=d&X-Amz-Signature=s", true),
            ("https://host/a?X-Amz-Date=e&X-Amz-Signature=t&id=1", true),
            ("https://host/a?id=2", false),
            ("https://host/a?id=1&token=t", false),
            ("https://host/a", false),
            ("https://host/b?id=1", false),
            ("http://host/a?id=1", false),
            ("https://other/a?id=1", false),
        ] {
            assert_eq!(url(other).source_id() == base, same, "{other}");
            assert_eq!(url(other).identity() == url("https://host/a?id=1").identity(), same, "{other}");
        }
        assert_eq!(url("http://h/a?").source_id(), url("http://h/a").source_id());
        // Known to files on disk, so it must not change. `printf http://h/x | sha256sum`
        let hash = "86ca99740210faa002c7e540649a2601947e24afbb48775eddb3870bc9b97601";
        assert_eq!(format!("{:?}", url("http://u:p@h/x").source_id()), format!("SourceId({hash})"));
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
