//! Fetches a list that is named by a URL, by the rules of any download: with retries, and checked to be complete.

use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tempfile::TempDir;

use super::exit::Exit;
use super::signal::{self, Signal};
use crate::error::Error;
use crate::options::{Mode, Options, Output};
use crate::plan::Plan;
use crate::run::execute_first;
use crate::url::WebUrl;

/// How many times to remove a directory in which a file may be created meanwhile.
const ATTEMPTS: usize = 10;

/// Fetches a list, and returns it as a file that is already gone from its directory.
///
/// The headers of all requests, the proxies, the timeouts and the retries are those of the run, and so is its maximum
/// time. The maximum size of a file is for the files of the list. A signal ends the process at once.
///
/// # Errors
///
/// The reason, after the URL without its secrets. Where that is an [`Error`], it says whether it is temporary.
pub fn fetch_list(url: &WebUrl, options: &Options) -> anyhow::Result<File> {
    let failed = || format!("{url}: cannot fetch the list");
    // Only this user can read it: the list may have secrets.
    let directory = tempfile::Builder::new().prefix("tdl-list-").tempdir();
    let directory = directory.context("cannot create a temporary directory").with_context(failed)?;
    let path = directory.path().to_owned();
    let directory = Arc::new(Mutex::new(Some(directory)));
    let in_handler = Arc::clone(&directory);
    signal::listen(move |signal| remove_and_exit(&in_handler, signal))
        .map_err(|source| Error::Exhausted { action: "listen for signals", source })?;
    let fetched = fetch_into(&path, url, options).with_context(failed);
    remove(&directory);
    fetched
}

fn fetch_into(directory: &Path, url: &WebUrl, options: &Options) -> anyhow::Result<File> {
    let mut options = options.clone();
    options.output = Output { directory: directory.to_owned(), ..Output::default() };
    options.limits.mode = Mode::Sequential;
    options.limits.max_filesize = None;
    let fetched = execute_first(&Plan::new([url.clone()], |_| false), &options)?;
    // An open file survives the removal of its name.
    Ok(File::open(fetched.path)?)
}

/// Nothing has begun that needs an orderly end.
fn remove_and_exit(directory: &Mutex<Option<TempDir>>, signal: Signal) {
    remove(directory);
    #[expect(clippy::exit, reason = "the thread that fetches the list may be waiting for the server")]
    std::process::exit(Exit::Interrupted(signal).code().into());
}

/// Removes the directory, unless another thread has done so.
fn remove(directory: &Mutex<Option<TempDir>>) {
    let Some(directory) = directory.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let path = directory.keep();
    for _ in 0..ATTEMPTS {
        let _ = fs::remove_dir_all(&path);
        if !path.exists() {
            break;
        }
    }
}
