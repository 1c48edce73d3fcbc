//! Decides where a redirect leads and whether it may be followed. Pure: `client` sends the requests.

use crate::error::{MAX_REDIRECTS, Redirect};
use crate::url::{WebUrl, percent_encode_invalid};

/// The redirects followed for one request.
pub struct RedirectChain {
    first: WebUrl,
    current: WebUrl,
    count: usize,
}

impl RedirectChain {
    /// Starts at the URL that the user gave.
    pub fn new(url: &WebUrl) -> Self {
        let url = url.without_credentials();
        Self { first: url.clone(), current: url, count: 0 }
    }

    /// Starts at the URL where an earlier chain from `url` ended.
    pub fn starting_at(url: &WebUrl, effective_url: &WebUrl) -> Self {
        // However many redirects led there, they count as one towards the limit.
        Self { first: url.without_credentials(), current: effective_url.without_credentials(), count: 1 }
    }

    /// The URL to request next.
    pub const fn current(&self) -> &WebUrl {
        &self.current
    }

    /// Whether headers and credentials that the user gave for the first URL may be sent to the current one.
    pub fn is_at_origin(&self) -> bool {
        self.current.origin() == self.first.origin()
    }

    /// Moves on to the URL in the `Location` header of the current URL's response (RFC 9110, section 10.2.2). Its user
    /// info is dropped: credentials come from the user, never from a server.
    pub fn follow(&mut self, location: &[u8]) -> Result<(), Box<Redirect>> {
        let location = percent_encode_invalid(location);
        let from = &self.current;
        let Some(to) = from.join(&location).map(|to| to.without_credentials()) else {
            return Err(Box::new(Redirect::NotWeb { from: from.clone(), location }));
        };
        if from.is_https() && !to.is_https() {
            return Err(Box::new(Redirect::Downgrade { from: from.clone(), to }));
        }
        if self.count == MAX_REDIRECTS {
            return Err(Box::new(Redirect::TooMany(to)));
        }
        self.count += 1;
        self.current = to;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: &str, location: &[u8]) -> Result<String, String> {
        let mut chain = RedirectChain::new(&WebUrl::parse(start).unwrap());
        chain.follow(location).map(|()| chain.current().unredacted().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn locations_seen_in_the_wild() {
        for (start, location, to) in [
            ("http://h/a/b?q", &b"/c"[..], "http://h/c"),
            ("http://h/a/b?q", b"c", "http://h/a/c"),
            ("http://h/a", b"//other/c", "http://other/c"),
            ("http://h/a", b"https://other/c#f", "https://other/c"),
            ("http://h/a", b"?page=2", "http://h/a?page=2"),
            // A redirect to the same URL may set a cookie, or the server may respond differently the second time.
            ("http://h/a", b"#top", "http://h/a"),
            ("http://h/a", b"/caf\xe9", "http://h/caf%E9"),
            ("http://h/a", "/café".as_bytes(), "http://h/caf%C3%A9"),
            ("http://u:p@h/a", b"/c", "http://h/c"),
            ("http://h/a", b"http://eve:x@h/c", "http://h/c"),
        ] {
            assert_eq!(after(start, location).as_deref(), Ok(to));
        }
    }

    #[test]
    fn the_error_names_the_redirect_that_was_not_followed() {
        for (start, location, message) in [
            (
                "http://h/a",
                "file:///etc/passwd",
                "http://h/a redirects to 'file:///etc/passwd', which is not an http or https URL",
            ),
            ("http://h/a", "ftp://h/a", "http://h/a redirects to 'ftp://h/a', which is not an http or https URL"),
            ("http://h/a", "http://", "http://h/a redirects to 'http://', which is not an http or https URL"),
            ("https://h/a", "http://h/a", "https://h/a redirects from https to http://h/a"),
        ] {
            assert_eq!(after(start, location.as_bytes()), Err(message.to_owned()));
        }
    }

    #[test]
    fn ten_redirects_are_followed_and_no_more() {
        let mut chain = RedirectChain::new(&WebUrl::parse("http://h/0").unwrap());
        for hop in 1..=10 {
            chain.follow(format!("/{hop}").as_bytes()).unwrap();
        }
        assert_eq!(chain.follow(b"/11").unwrap_err().to_string(), "more than 10 redirects, the last to http://h/11");
    }

    #[test]
    fn credentials_may_go_to_the_first_origin_only() {
        let mut chain = RedirectChain::new(&WebUrl::parse("http://h/a").unwrap());
        for (location, at_origin) in
            [("/b", true), ("http://h:81/c", false), ("http://other/d", false), ("http://h/e", true)]
        {
            chain.follow(location.as_bytes()).unwrap();
            assert_eq!(chain.is_at_origin(), at_origin, "{location}");
        }
    }
}
