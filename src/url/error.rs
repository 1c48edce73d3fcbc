//! The errors for texts that are not URLs, with suggested fixes. `check` finds them.

use std::fmt;

use super::redact::redacted;
use crate::text::safe;

/// Why a string is not a URL that tdl can request. The message shows the text redacted, and suggests a fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlError {
    pub(super) text: String,
    pub(super) problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// There is no `://`. Holds the URL that was probably meant.
    NotAbsolute(Option<String>),
    Scheme,
    Control(char),
    Several,
    Backslash,
    Quoted,
    Malformed(String),
}

impl UrlError {
    /// The error for a text that the URL standard refuses.
    pub(super) fn malformed(text: &str, why: &str) -> Self {
        Self { text: text.to_owned(), problem: Problem::Malformed(why.to_owned()) }
    }
}

impl std::error::Error for UrlError {}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = redacted(&self.text);
        let text = safe(&text);
        match &self.problem {
            Problem::NotAbsolute(None) => write!(f, "'{text}' is not an absolute URL"),
            Problem::NotAbsolute(Some(meant)) => {
                write!(f, "'{text}' is not an absolute URL; did you mean {}?", safe(&redacted(meant)))
            }
            Problem::Scheme if self.text.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("ftp://")) => {
                let rest = &redacted(&self.text)["ftp://".len()..];
                let rest = safe(rest);
                write!(
                    f,
                    "'{text}' is not an http or https URL; many FTP servers answer https as well: try https://{rest}"
                )
            }
            Problem::Scheme => write!(f, "'{text}' is not an http or https URL; tdl supports only these"),
            Problem::Control('\t') => {
                write!(f, "'{text}' contains a tab; put each URL on its own line or in its own argument")
            }
            Problem::Control(c) => {
                write!(f, "'{text}' contains the control character {}; percent-encode it", c.escape_unicode())
            }
            Problem::Several => {
                write!(f, "'{text}' contains several URLs; put each on its own line or in its own argument")
            }
            Problem::Quoted => write!(f, "{text} is not an absolute URL; remove the quotes or brackets around it"),
            Problem::Backslash => write!(f, "'{text}' contains a backslash; write / or %5C"),
            Problem::Malformed(why) => write!(f, "'{text}' is not a URL: {why}"),
        }
    }
}
