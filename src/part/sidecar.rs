//! The text of `NAME.part.json`: what a later attempt, or a later run, needs to go on with a part file safely.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::owner::Owner;
use super::ranges::Ranges;
use crate::http::Validator;
use crate::url::WebUrl;

/// The version of the format that is written, and the newest that is read.
const VERSION: u32 = 1;

/// Of a URL longer than this a hash is kept, for a sidecar must stay small.
const LONGEST_URL: usize = 8 * 1024;

/// What is known of a part file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    version: u32,
    /// The [identity](WebUrl::identity) of the URL.
    url: String,
    /// What proves that an answer is of the same file; without it the part cannot be gone on with.
    pub validator: Option<Validator>,
    /// The length of the whole file, where it was announced.
    pub length: Option<u64>,
    /// The bytes that are on the disk.
    pub done: Ranges,
    /// Requests in a row for the rest that failed, so that a run which tries once does not ask for it for ever.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_resumes: u32,
    /// Answers in a row that did not continue what is there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unusable_answers: u32,
    /// The process that writes to the part file; none if it was left for a later run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

/// What every version has.
#[derive(Deserialize)]
struct Any {
    version: u32,
    #[serde(rename = "url")]
    _url: String,
    #[serde(default)]
    owner: Option<serde_json::Value>,
}

/// Why there is no sidecar to go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// There is none, or what is there was not made by tdl.
    NotOurs,
    /// It says what cannot be.
    Broken,
    /// It is about another URL.
    OtherUrl,
    /// A newer version of tdl wrote it.
    Newer,
}

impl Sidecar {
    /// A sidecar that claims no byte yet.
    #[must_use]
    pub fn new(url: &WebUrl, validator: Option<Validator>, length: Option<u64>) -> Self {
        let (url, done) = (identity(url), Ranges::default());
        Self { version: VERSION, url, validator, length, done, failed_resumes: 0, unusable_answers: 0, owner: None }
    }

    /// The sidecar of a part file that is about to be removed.
    #[must_use]
    pub fn unclaimed() -> Self {
        let (url, done) = (String::new(), Ranges::default());
        Self {
            version: VERSION,
            url,
            validator: None,
            length: None,
            done,
            failed_resumes: 0,
            unusable_answers: 0,
            owner: None,
        }
    }

    /// The same sidecar with this owner, or without one.
    #[must_use]
    pub fn owned_by(self, owner: Option<Owner>) -> Self {
        Self { owner, ..self }
    }

    /// What a sidecar's text says, if it can be true of a part of `available` bytes.
    ///
    /// # Errors
    ///
    /// Why it is not to be gone by.
    pub fn parse(text: &[u8], url: &WebUrl, available: u64) -> Result<Self, Unusable> {
        let any: Any = serde_json::from_slice(text).map_err(|_| Unusable::NotOurs)?;
        if any.version > VERSION {
            return Err(Unusable::Newer);
        }
        let sidecar: Self = serde_json::from_slice(text).map_err(|_| Unusable::Broken)?;
        if sidecar.url != identity(url) {
            return Err(Unusable::OtherUrl);
        }
        let end = sidecar.done.end();
        let is_possible = end <= available && sidecar.length.is_none_or(|length| end <= length);
        let is_sound = sidecar.validator.as_ref().is_none_or(Validator::is_sound);
        if is_possible && is_sound { Ok(sidecar) } else { Err(Unusable::Broken) }
    }

    /// The text of the file.
    ///
    /// # Errors
    ///
    /// None is known.
    pub fn text(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }
}

/// The owner that a sidecar of any version names; `None` if the text is not tdl's. An owner that this version cannot
/// read is one of which nothing is known.
pub fn owner_in(text: &[u8]) -> Option<Option<Owner>> {
    let any: Any = serde_json::from_slice(text).ok()?;
    Some(any.owner.map(|owner| serde_json::from_value(owner).unwrap_or_default()))
}

/// Whether a text is a sidecar, or the beginning of one.
pub fn is_beginning(text: &[u8]) -> bool {
    text.starts_with(b"{\"version\":")
        && (owner_in(text).is_some() || serde_json::from_slice::<Any>(text).is_err_and(|error| error.is_eof()))
}

/// The sidecar's path.
pub fn path(part: &Path) -> PathBuf {
    with_suffix(part, ".json")
}

/// Where a sidecar is written before it takes the place of the last one.
pub fn fresh_path(part: &Path) -> PathBuf {
    with_suffix(part, ".tmp")
}

fn with_suffix(part: &Path, suffix: &str) -> PathBuf {
    let mut path = part.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What a URL is known by; a hash, where that is long.
fn identity(url: &WebUrl) -> String {
    let identity = url.identity();
    if identity.len() <= LONGEST_URL {
        return identity;
    }
    let hash: String = Sha256::digest(identity).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hash}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::EntityHeaders;

    fn url(text: &str) -> WebUrl {
        WebUrl::parse(text).unwrap()
    }

    fn validator(etag: &str) -> Option<Validator> {
        let effective_url = "http://h/x".to_owned();
        Validator::of(EntityHeaders { etag: Some(etag.to_owned()), effective_url, ..EntityHeaders::default() }, None)
    }

    fn sidecar(url: &WebUrl, done: u64) -> Sidecar {
        let mut sidecar = Sidecar::new(url, validator("\"a\""), Some(100));
        sidecar.done.add(0, done);
        sidecar
    }

    #[test]
    fn a_sidecar_is_read_as_it_was_written_and_keeps_no_secret() {
        let url = url("http://user:pass@h/x?token=secret");
        let owner = Owner { host: "h".to_owned(), process: 1, started: Some(2), nonce: u64::MAX };
        for owner in [None, Some(owner)] {
            let written = Sidecar { owner, ..sidecar(&url, 40) };
            let text = String::from_utf8(written.text().unwrap()).unwrap();
            assert_eq!(Sidecar::parse(text.as_bytes(), &url, 50).as_ref(), Ok(&written));
            assert_eq!(owner_in(text.as_bytes()), Some(written.owner));
            assert!(!text.contains("pass") && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_text_is_tdls_from_its_beginning() {
        let text = sidecar(&url("http://h/x"), 40).text().unwrap();
        for end in 11..=text.len() {
            assert!(is_beginning(&text[..end]), "{}", String::from_utf8_lossy(&text[..end]));
        }
        for other in ["", "{", "{}", "{\"a\":1}", "{\"version\":1}", "{\"version\":1,,", "mine"] {
            assert!(!is_beginning(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_long_url_makes_no_long_sidecar() {
        for long in [format!("http://h/{}", "x".repeat(100_000)), format!("http://h/x?{}", "y".repeat(100_000))] {
            let sidecar = Sidecar::new(&url(&long), None, None);
            let text = sidecar.text().unwrap();
            assert!(text.len() < LONGEST_URL);
            assert_eq!(Sidecar::parse(&text, &url(&long), 0), Ok(sidecar));
            assert_eq!(Sidecar::parse(&text, &url(&format!("{long}z")), 0), Err(Unusable::OtherUrl));
        }
    }

    #[test]
    fn what_cannot_be_true_is_not_believed() {
        let own = url("http://h/x?a=1");
        let text = serde_json::to_string(&sidecar(&own, 40)).unwrap();
        let parse = |text: &str, url: &WebUrl, available| Sidecar::parse(text.as_bytes(), url, available).map(drop);
        assert_eq!(parse(&text, &own, 40), Ok(()));
        assert_eq!(parse(&text, &url("http://other@h/x?a=1"), 40), Ok(()), "user info is no part of a file");
        assert_eq!(parse(&text, &own, 39), Err(Unusable::Broken), "the part is shorter than it claims");
        assert_eq!(parse(&text, &url("http://h/x?a=1&X-Amz-Signature=s"), 40), Ok(()), "nor is a signature");
        assert_eq!(parse(&text, &url("http://h/x?a=2"), 40), Err(Unusable::OtherUrl));
        assert_eq!(parse(&text, &url("http://h/x"), 40), Err(Unusable::OtherUrl));
        assert_eq!(parse(&text[..text.len() - 1], &own, 40), Err(Unusable::NotOurs));
        assert_eq!(parse("", &own, 40), Err(Unusable::NotOurs));
        assert_eq!(parse(&text.replace(r#"\"a\""#, r#"\"a\r\nX: 1\""#), &own, 40), Err(Unusable::Broken));
        assert_eq!(parse(&text.replace("\"length\":100", "\"length\":39"), &own, 40), Err(Unusable::Broken));
        assert_eq!(parse(&text.replace("[[0,40]]", "[[0,40],[20,30]]"), &own, 40), Err(Unusable::Broken));
        assert_eq!(parse("{\"version\":2,\"url\":\"\",\"anything\":null}", &own, 40), Err(Unusable::Newer));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..200), available: u64) {
            let _ = Sidecar::parse(&text, &url("http://h/x"), available);
        }

        #[test]
        fn it_claims_what_was_written_and_no_more(done in 0u64..200, length in proptest::option::of(0u64..200), available in 0u64..200) {
            let url = url("http://h/x");
            let mut sidecar = Sidecar::new(&url, validator("\"a\""), length);
            sidecar.done.add(0, done);
            let text = serde_json::to_vec(&sidecar).unwrap();
            let can_be = done <= available && length.is_none_or(|length| done <= length);
            prop_assert_eq!(Sidecar::parse(&text, &url, available), if can_be { Ok(sidecar) } else { Err(Unusable::Broken) });
        }
    }
}
