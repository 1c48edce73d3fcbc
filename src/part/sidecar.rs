//! `NAME.part.json`: what a later attempt, or a later run, needs to go on with a part file safely.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ranges::Ranges;
use crate::http::Validator;
use crate::url::WebUrl;

/// The version of the format that is written, and the newest that is read.
const VERSION: u32 = 1;

/// A sidecar larger than this is none of ours.
const LARGEST: u64 = 1024 * 1024;

/// What is known of a part file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    version: u32,
    /// The URL without user info, and with a hash in place of its query.
    url: String,
    /// What proves that an answer is of the same file; without it the part cannot be gone on with.
    pub validator: Option<Validator>,
    /// The length of the whole file, where it was announced.
    pub length: Option<u64>,
    /// The bytes that are on the disk.
    pub done: Ranges,
}

/// What every version has.
#[derive(Deserialize)]
struct Any {
    version: u32,
    #[serde(rename = "url")]
    _url: String,
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
        Self { version: VERSION, url: identity(url), validator, length, done: Ranges::default() }
    }

    /// Reads the sidecar of `part`, which is `available` bytes long, for a download of `url`.
    ///
    /// # Errors
    ///
    /// Why it is not to be gone by.
    pub fn read(part: &Path, url: &WebUrl, available: u64) -> Result<Self, Unusable> {
        match path(part).symlink_metadata() {
            Ok(meta) if meta.is_file() && meta.len() <= LARGEST => {}
            _ => return Err(Unusable::NotOurs),
        }
        let text = fs::read(path(part)).map_err(|_| Unusable::NotOurs)?;
        Self::parse(&text, url, available)
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

    /// Writes the sidecar of `part`, whole or not at all, and if it is to be `durable` onto the disk. The bytes that it
    /// claims must be on the disk already.
    ///
    /// # Errors
    ///
    /// It cannot be written; the last one stays.
    pub fn save(&self, part: &Path, durable: bool) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        let fresh = fresh_path(part);
        // Whatever is there, a link perhaps, is not written to.
        Self::remove_unfinished(part);
        let mut file = OpenOptions::new().write(true).create_new(true).open(&fresh)?;
        let written = file.write_all(&text).and_then(|()| if durable { file.sync_all() } else { Ok(()) });
        written.and_then(|()| fs::rename(&fresh, path(part))).inspect_err(|_| Self::remove_unfinished(part))
    }

    /// Whether something that is no sidecar of tdl's has the sidecar's name.
    #[must_use]
    pub fn is_foreign(part: &Path) -> bool {
        let path = path(part);
        let Ok(meta) = path.symlink_metadata() else { return false };
        let is_ours = || serde_json::from_slice::<Any>(&fs::read(&path).ok()?).ok();
        !(meta.is_file() && meta.len() <= LARGEST && is_ours().is_some())
    }

    /// Removes a sidecar whose part file is not there.
    pub fn remove_orphan(part: &Path) {
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        // Looked for in this order: another process makes the part file first.
        if is_there(&path(part)) && !Self::is_foreign(part) && !is_there(part) {
            Self::remove(part);
            Self::remove_unfinished(part);
        }
    }

    /// Removes the sidecar of `part`, if there is one.
    pub fn remove(part: &Path) {
        let _ = fs::remove_file(path(part));
    }

    /// Removes what a process that died in [`save`](Self::save) may have left.
    pub fn remove_unfinished(part: &Path) {
        let _ = fs::remove_file(fresh_path(part));
    }
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

/// What a URL is known by: no password, and no token that its query may hold.
fn identity(url: &WebUrl) -> String {
    let url = url.without_credentials();
    let text = url.unredacted();
    match text.split_once('?') {
        None => text.to_owned(),
        Some((before, query)) => {
            let hash = Sha256::digest(query);
            let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{before}?sha256={hex}")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::Marks;

    fn url(text: &str) -> WebUrl {
        WebUrl::parse(text).unwrap()
    }

    fn validator(etag: &str) -> Option<Validator> {
        let place = "http://h/x".to_owned();
        Validator::of(Marks { etag: Some(etag.to_owned()), place, ..Marks::default() }, None)
    }

    fn sidecar(url: &WebUrl, done: u64) -> Sidecar {
        let mut sidecar = Sidecar::new(url, validator("\"a\""), Some(100));
        sidecar.done.add(0, done);
        sidecar
    }

    #[test]
    fn a_sidecar_is_read_as_it_was_written_and_keeps_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("x.part");
        let url = url("http://user:pass@h/x?token=secret");
        let written = sidecar(&url, 40);
        written.save(&part, false).unwrap();
        assert_eq!(Sidecar::read(&part, &url, 50), Ok(written));
        let text = fs::read_to_string(dir.path().join("x.part.json")).unwrap();
        assert!(!text.contains("pass") && !text.contains("secret"), "{text}");
        Sidecar::remove(&part);
        assert_eq!(Sidecar::read(&part, &url, 50), Err(Unusable::NotOurs));
    }

    #[test]
    fn what_cannot_be_true_is_not_believed() {
        let own = url("http://h/x?a=1");
        let text = serde_json::to_string(&sidecar(&own, 40)).unwrap();
        let parse = |text: &str, url: &WebUrl, available| Sidecar::parse(text.as_bytes(), url, available).map(drop);
        assert_eq!(parse(&text, &own, 40), Ok(()));
        assert_eq!(parse(&text, &url("http://other@h/x?a=1"), 40), Ok(()), "user info is no part of a file");
        assert_eq!(parse(&text, &own, 39), Err(Unusable::Broken), "the part is shorter than it claims");
        assert_eq!(parse(&text, &url("http://h/x?a=2"), 40), Err(Unusable::OtherUrl));
        assert_eq!(parse(&text, &url("http://h/x"), 40), Err(Unusable::OtherUrl));
        assert_eq!(parse(&text[..text.len() - 1], &own, 40), Err(Unusable::NotOurs));
        assert_eq!(parse("", &own, 40), Err(Unusable::NotOurs));
        assert_eq!(parse(&text.replace(r#"\"a\""#, r#"\"a\r\nX: 1\""#), &own, 40), Err(Unusable::Broken));
        assert_eq!(parse(&text.replace("\"length\":100", "\"length\":39"), &own, 40), Err(Unusable::Broken));
        assert_eq!(parse(&text.replace("[[0,40]]", "[[0,40],[20,30]]"), &own, 40), Err(Unusable::Broken));
        assert_eq!(parse("{\"version\":2,\"url\":\"\",\"anything\":null}", &own, 40), Err(Unusable::Newer));
    }

    #[test]
    fn only_a_sidecar_of_tdls_is_removed_as_an_orphan() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("x.part");
        let text = serde_json::to_string(&sidecar(&url("http://h/x"), 40)).unwrap();
        for (text, is_foreign) in
            [(text.as_str(), false), ("{\"version\":9,\"url\":\"?\",\"new\":1}", false), ("{}", true), ("mine", true)]
        {
            fs::write(path(&part), text).unwrap();
            assert_eq!(Sidecar::is_foreign(&part), is_foreign, "{text}");
            Sidecar::remove_orphan(&part);
            assert_eq!(path(&part).exists(), is_foreign, "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_no_sidecar_and_is_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (part, elsewhere) = (dir.path().join("x.part"), dir.path().join("elsewhere"));
        let url = url("http://h/x");
        fs::write(&elsewhere, serde_json::to_string(&sidecar(&url, 40)).unwrap()).unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("x.part.json")).unwrap();
        assert_eq!(Sidecar::read(&part, &url, 50), Err(Unusable::NotOurs));
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("x.part.tmp")).unwrap();
        sidecar(&url, 50).save(&part, false).unwrap();
        assert_eq!(Sidecar::read(&part, &url, 50), Ok(sidecar(&url, 50)));
        assert_eq!(Sidecar::parse(&fs::read(&elsewhere).unwrap(), &url, 50), Ok(sidecar(&url, 40)));
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
