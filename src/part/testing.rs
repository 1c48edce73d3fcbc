//! What the tests of this folder share: a download of `http://h/x` to `x` in a scratch directory.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::open::Existing;
use super::part_file::PartFile;
use crate::error::Error;
use crate::http::{EntityHeaders, Validator};
use crate::url::WebUrl;

/// A sidecar that records no bytes.
pub const EMPTY_SIDECAR: &str = r#"{"version":1,"url":"http://h/x","validator":null,"length":null,"done":[]}"#;

pub fn url() -> WebUrl {
    WebUrl::parse("http://h/x").unwrap()
}

pub fn validator() -> Option<Validator> {
    let effective_url = "http://h/x".to_owned();
    Validator::of(EntityHeaders { etag: Some("\"a\"".to_owned()), effective_url, ..EntityHeaders::default() }, None)
}

/// Starts a download, over an existing part file if there is one, and writes these bytes.
pub fn start_in(dir: &Path, bytes: &[u8]) -> PartFile {
    let mut part = match open_in(dir).unwrap().part {
        Some(part) => part.replace_with_empty().unwrap(),
        None => PartFile::create(&dir.join("x.part")).unwrap(),
    };
    part.start(&url(), validator().as_ref(), None).unwrap();
    part.write(bytes).unwrap();
    part
}

pub fn open_in(dir: &Path) -> Result<Existing, Error> {
    PartFile::open_existing(&dir.join("x.part"), &dir.join("x"), &url())
}

pub fn sidecar_in(dir: &Path) -> PathBuf {
    dir.join("x.part.json")
}

/// Returns the names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Changes the part file as another process could.
pub fn interfere(dir: &Path, change: impl FnOnce(File)) {
    change(OpenOptions::new().write(true).open(dir.join("x.part")).unwrap());
}

/// Simulates a file system whose locks other processes do not see.
#[cfg(unix)]
pub fn without_lock(part: PartFile) -> PartFile {
    part.shared.file.handle.unlock().unwrap();
    part
}

/// Makes a file look as if it had been written this many seconds ago.
pub fn make_older(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    OpenOptions::new().write(true).open(path).unwrap().set_modified(time).unwrap();
}
