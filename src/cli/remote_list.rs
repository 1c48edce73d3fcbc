//! Fetches a list that is named by a URL, by the rules of any download: with retries, and checked to be complete.

use std::fs::{self, File};
use std::path::Path;

use anyhow::Context as _;

use super::exit::Exit;
use super::signal::{self, Signal};
use crate::error::Error;
use crate::options::{IfExists, Mode, Options};
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
    let directory = tempfile::Builder::new()
        .prefix("tdl-list-")
        .tempdir()
        .context("cannot create a temporary directory")
        .with_context(failed)?;
    let path = directory.path().to_owned();
    signal::listen(move |signal| remove_and_exit(&path, signal))
        .map_err(|source| Error::Exhausted { action: "listen for signals", source })?;

    let mut options = options.clone();
    options.output.directory = directory.path().to_owned();
    options.output.if_exists = IfExists::Overwrite;
    options.output.remote_name = false;
    options.output.fsync = false;
    options.limits.mode = Mode::Sequential;
    options.limits.max_filesize = None;
    let plan = Plan::new([url.clone()], |_| false);
    let fetched = execute_first(&plan, &options).with_context(failed)?;
    // Open files survive the removal of their names, which happens when `directory` is dropped.
    File::open(fetched.path).with_context(failed)
}

/// Removes the directory of a list that is being fetched, and exits.
#[expect(clippy::exit, reason = "nothing has begun that needs an orderly end")]
fn remove_and_exit(directory: &Path, signal: Signal) {
    for _ in 0..ATTEMPTS {
        let _ = fs::remove_dir_all(directory);
        if !directory.exists() {
            break;
        }
    }
    std::process::exit(Exit::Interrupted(signal).code().into());
}
