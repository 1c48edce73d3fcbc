//! Fetches a list that is named by a URL, by the rules of any download: with retries, and checked to be complete.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    let directory = Arc::new(Directory::default());
    let in_handler = Arc::clone(&directory);
    signal::listen(move |signal| in_handler.remove_and_exit(signal))
        .map_err(|source| Error::Exhausted { action: "listen for signals", source })?;
    let path = directory.create().context("cannot create a temporary directory").with_context(failed)?;
    let fetched = fetch_into(&path, url, options).with_context(failed);
    directory.remove();
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

/// The directory of the list, while that is fetched. It is locked while it is created or removed, so that a signal leaves
/// nothing behind and nothing else is said when it ends the process.
#[derive(Default)]
struct Directory(Mutex<Option<TempDir>>);

impl Directory {
    /// Creates the directory. Only this user can read it: the list may have secrets.
    fn create(&self) -> io::Result<PathBuf> {
        let created = &mut *self.lock();
        let directory = tempfile::Builder::new().prefix("tdl-list-").tempdir()?;
        Ok(created.insert(directory).path().to_owned())
    }

    fn remove(&self) {
        remove(self.lock().take());
    }

    fn remove_and_exit(&self, signal: Signal) {
        let mut directory = self.lock();
        remove(directory.take());
        // Nothing has begun that needs an orderly end.
        std::process::exit(Exit::Interrupted(signal).code().into());
    }

    fn lock(&self) -> MutexGuard<'_, Option<TempDir>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(directory: Option<TempDir>) {
    let Some(path) = directory.map(TempDir::keep) else { return };
    for _ in 0..ATTEMPTS {
        let _ = fs::remove_dir_all(&path);
        if !path.exists() {
            break;
        }
    }
}
