//! The text of `NAME.part.json`: what a later attempt or run needs to resume a part file safely, and which process owns
//! it now. Does no I/O.

use std::io;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::owner::Owner;
use super::ranges::Ranges;
use crate::http::Validator;
use crate::url::WebUrl;

/// The version of the format that is written, and the newest that is read.
const VERSION: u32 = 1;

/// A URL longer than this is stored as a hash, because a sidecar must stay small.
const MAX_URL_LENGTH: usize = 8 * 1024;

/// What is known about a part file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    version: u32,
    /// The [identity](WebUrl::identity) of the URL.
    url: String,
    /// Proves that a response is of the same file. Without it, the part file cannot be resumed.
    pub validator: Option<Validator>,
    /// The length of the whole file, if it was announced.
    pub length: Option<u64>,
    /// The bytes that are on disk.
    pub done: Ranges,
    /// How many requests for the rest have failed in a row. A run without retries counts them too, so that resuming is
    /// not tried forever.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_resumes: u32,
    /// How many responses in a row did not continue the part file.
    #[serde(rename = "unusable_answers", default, skip_serializing_if = "is_zero")]
    pub unusable_responses: u32,
    /// The process that writes to the part file; `None` if it was left for a later run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

/// The fields that every version has.
#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
    #[serde(rename = "url")]
    _url: String,
    #[serde(default)]
    owner: Option<serde_json::Value>,
}

/// Why a sidecar cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SidecarError {
    /// The text was not written by tdl.
    NotOurs,
    /// It does not parse, or contradicts itself or the part file.
    Invalid,
    /// It belongs to a different URL.
    OtherUrl,
    /// A newer version of tdl wrote it.
    NewerVersion,
}

impl Sidecar {
    /// Creates a sidecar that records no bytes yet.
    #[must_use]
    pub fn new(url: &WebUrl, validator: Option<Validator>, length: Option<u64>) -> Self {
        Self { validator, length, ..Self::without_download(identity(url)) }
    }

    /// Creates the sidecar by which a process claims a part file in order to remove it.
    #[must_use]
    pub fn for_removal() -> Self {
        Self::without_download(String::new())
    }

    fn without_download(url: String) -> Self {
        Self {
            version: VERSION,
            url,
            validator: None,
            length: None,
            done: Ranges::default(),
            failed_resumes: 0,
            unusable_responses: 0,
            owner: None,
        }
    }

    /// Replaces the owner.
    #[must_use]
    pub fn owned_by(self, owner: Option<Owner>) -> Self {
        Self { owner, ..self }
    }

    /// Parses a sidecar and checks that it is consistent with a part file of `available` bytes.
    ///
    /// # Errors
    ///
    /// The reason why it cannot be used.
    pub fn parse(text: &[u8], url: &WebUrl, available: u64) -> Result<Self, SidecarError> {
        let any: AnyVersion = serde_json::from_slice(text).map_err(|_| SidecarError::NotOurs)?;
        if any.version > VERSION {
            return Err(SidecarError::NewerVersion);
        }
        let sidecar: Self = serde_json::from_slice(text).map_err(|_| SidecarError::Invalid)?;
        if sidecar.url != identity(url) {
            return Err(SidecarError::OtherUrl);
        }
        let end = sidecar.done.end();
        let is_possible = end <= available && sidecar.length.is_none_or(|length| end <= length);
        let is_usable = sidecar.validator.as_ref().is_none_or(Validator::is_usable);
        if is_possible && is_usable { Ok(sidecar) } else { Err(SidecarError::Invalid) }
    }

    /// Returns the text to write.
    ///
    /// # Errors
    ///
    /// Serialization is not expected to fail.
    pub fn to_json(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }
}

/// Returns the owner that a sidecar of any version names, if it names one. An owner that this version cannot read
/// becomes the default one, about which nothing is known.
///
/// # Errors
///
/// [`SidecarError::NotOurs`] if the text was not written by tdl.
pub fn parse_owner(text: &[u8]) -> Result<Option<Owner>, SidecarError> {
    let any: AnyVersion = serde_json::from_slice(text).map_err(|_| SidecarError::NotOurs)?;
    Ok(any.owner.map(|owner| serde_json::from_value(owner).unwrap_or_default()))
}

/// Whether a text is a sidecar or the beginning of one.
pub fn is_sidecar_prefix(text: &[u8]) -> bool {
    text.starts_with(b"{\"version\":")
        && (parse_owner(text).is_ok() || serde_json::from_slice::<AnyVersion>(text).is_err_and(|error| error.is_eof()))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Returns the URL's identity as stored in a sidecar, or a hash of it if it is long.
fn identity(url: &WebUrl) -> String {
    let identity = url.identity();
    if identity.len() <= MAX_URL_LENGTH {
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
        let owner = Owner { machine: "h".to_owned(), process: 1, started: Some(2), nonce: u64::MAX };
        for owner in [None, Some(owner)] {
            let written = Sidecar { owner, ..sidecar(&url, 40) };
            let text = String::from_utf8(written.to_json().unwrap()).unwrap();
            assert_eq!(Sidecar::parse(text.as_bytes(), &url, 50).as_ref(), Ok(&written));
            assert_eq!(parse_owner(text.as_bytes()), Ok(written.owner));
            assert!(!text.contains("pass") && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_truncated_sidecar_is_recognized() {
        let text = sidecar(&url("http://h/x"), 40).to_json().unwrap();
        for end in 11..=text.len() {
            assert!(is_sidecar_prefix(&text[..end]), "{}", String::from_utf8_lossy(&text[..end]));
        }
        for other in ["", "{", "{}", "{\"a\":1}", "{\"version\":1}", "{\"version\":1,,", "mine"] {
            assert!(!is_sidecar_prefix(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_long_url_does_not_make_a_long_sidecar() {
        for long in [format!("http://h/{}", "x".repeat(100_000)), format!("http://h/x?{}", "y".repeat(100_000))] {
            let sidecar = Sidecar::new(&url(&long), None, None);
            let text = sidecar.to_json().unwrap();
            assert!(text.len() < MAX_URL_LENGTH);
            assert_eq!(Sidecar::parse(&text, &url(&long), 0), Ok(sidecar));
            assert_eq!(Sidecar::parse(&text, &url(&format!("{long}z")), 0), Err(SidecarError::OtherUrl));
        }
    }

    #[test]
    fn an_impossible_sidecar_is_rejected() {
        let own = url("http://h/x?a=1");
        let text = serde_json::to_string(&sidecar(&own, 40)).unwrap();
        let parse = |text: &str, url: &WebUrl, available| Sidecar::parse(text.as_bytes(), url, available).map(drop);
        assert_eq!(parse(&text, &own, 40), Ok(()));
        assert_eq!(parse(&text, &url("http://other@h/x?a=1"), 40), Ok(()), "user info is not part of the identity");
        assert_eq!(parse(&text, &own, 39), Err(SidecarError::Invalid), "the part file is shorter than recorded");
        assert_eq!(parse(&text, &url("http://h/x?a=1&X-Amz-Signature=s"), 40), Ok(()), "nor is a signature");
        assert_eq!(parse(&text, &url("http://h/x?a=2"), 40), Err(SidecarError::OtherUrl));
        assert_eq!(parse(&text, &url("http://h/x"), 40), Err(SidecarError::OtherUrl));
        assert_eq!(parse(&text[..text.len() - 1], &own, 40), Err(SidecarError::NotOurs));
        assert_eq!(parse("", &own, 40), Err(SidecarError::NotOurs));
        assert_eq!(parse(&text.replace(r#"\"a\""#, r#"\"a\r\nX: 1\""#), &own, 40), Err(SidecarError::Invalid));
        assert_eq!(parse(&text.replace("\"length\":100", "\"length\":39"), &own, 40), Err(SidecarError::Invalid));
        assert_eq!(parse(&text.replace("[[0,40]]", "[[0,40],[20,30]]"), &own, 40), Err(SidecarError::Invalid));
        assert_eq!(parse("{\"version\":2,\"url\":\"\",\"anything\":null}", &own, 40), Err(SidecarError::NewerVersion));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in proptest::collection::vec(any::<u8>(), 0..200), available: u64) {
            let _ = Sidecar::parse(&text, &url("http://h/x"), available);
        }

        #[test]
        fn it_records_what_was_written_and_no_more(done in 0u64..200, length in proptest::option::of(0u64..200), available in 0u64..200) {
            let url = url("http://h/x");
            let mut sidecar = Sidecar::new(&url, validator("\"a\""), length);
            sidecar.done.add(0, done);
            let text = serde_json::to_vec(&sidecar).unwrap();
            let is_possible = done <= available && length.is_none_or(|length| done <= length);
            prop_assert_eq!(Sidecar::parse(&text, &url, available), if is_possible { Ok(sidecar) } else { Err(SidecarError::Invalid) });
        }
    }
}
