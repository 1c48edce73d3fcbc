//! Runs a plan twice, and compares the times and the files.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::time::Duration;

use crate::error::Error;
use crate::options::{IfExists, Mode, Options};
use crate::plan::Plan;
use crate::run::{CancelToken, Reporter, Summary, create_directory, execute};

/// Both runs of a comparison.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The first run, a plain loop.
    pub sequential: Summary,
    /// The second run, with threads. Its files are kept.
    pub concurrent: Summary,
    /// How many files are the same in both runs.
    pub same: usize,
    /// Redacted URLs of the files that differ between the two runs.
    pub differing: Vec<String>,
    /// Redacted URLs of the files that only one of the runs got.
    pub in_one: Vec<String>,
    /// Redacted URLs of the files that neither run got.
    pub in_neither: Vec<String>,
}

/// The result of a comparison.
#[derive(Debug, Clone)]
pub enum CompareResult {
    /// Both runs finished.
    Both(Box<Comparison>),
    /// The first run was cancelled or used up all the time. Its files are removed with the scratch directory.
    FirstOnly(Box<Summary>),
}

impl Comparison {
    /// What the sequential run took for the files that it got: all of its time but that of the failures.
    pub fn sequential_time(&self) -> Duration {
        self.sequential.elapsed.saturating_sub(self.sequential.failed_time)
    }

    /// What the concurrent run took for the files that it got: its time until it had the last of them, if any failed.
    pub const fn concurrent_time(&self) -> Duration {
        let Summary { elapsed, last_fetched, .. } = self.concurrent;
        if self.concurrent.failed() == 0 { elapsed } else { last_fetched }
    }

    /// How many times faster the concurrent run was. `None` unless both runs got the same files, because otherwise the
    /// times are not comparable.
    pub fn speed_up(&self) -> Option<f64> {
        let is_same = self.same > 0 && self.differing.is_empty() && self.in_one.is_empty();
        let seconds = self.concurrent_time().as_secs_f64();
        (is_same && seconds > 0.0).then(|| self.sequential_time().as_secs_f64() / seconds)
    }
}

/// Downloads a plan with the plain loop into `scratch`, then with threads into the output directory, and compares the
/// files. If the first run is cancelled, the second does not take place.
///
/// # Errors
///
/// Returns an error if a run could not start.
pub fn compare(
    plan: &Plan,
    options: &Options,
    scratch: &Path,
    reporter: &dyn Reporter,
    cancel: &CancelToken,
) -> Result<CompareResult, Error> {
    let in_mode = |mode, directory: &Path| {
        let mut options = options.clone();
        options.limits.mode = mode;
        // Otherwise the comparison would measure not only threads for several files, but also several for one file.
        options.limits.split = false;
        options.output.directory = directory.to_owned();
        options.output.if_exists = IfExists::Fail;
        options
    };
    let directory = &options.output.directory;
    create_directory(directory, options.output.fsync)?;
    let sequential = execute(plan, &in_mode(Mode::Sequential, scratch), reporter, cancel)?;
    let time_left = options.limits.max_time.map(|time| time.saturating_sub(sequential.elapsed));
    if cancel.is_cancelled() || time_left.is_some_and(|time| time.is_zero()) {
        return Ok(CompareResult::FirstOnly(Box::new(sequential)));
    }
    let mut second_options = in_mode(Mode::Concurrent, directory);
    second_options.limits.max_time = time_left;
    let concurrent = execute(plan, &second_options, reporter, cancel)?;
    let (differing, in_one, in_neither) = (Vec::new(), Vec::new(), Vec::new());
    let mut comparison = Comparison { sequential, concurrent, same: 0, differing, in_one, in_neither };
    for download in plan.downloads() {
        let (one, other) = (download.target().path_in(scratch), download.target().path_in(directory));
        let url = || download.url().to_string();
        match (one.exists(), other.exists()) {
            (true, true) if same_bytes(&one, &other).unwrap_or(false) => comparison.same += 1,
            (true, true) => comparison.differing.push(url()),
            (false, false) => comparison.in_neither.push(url()),
            _ => comparison.in_one.push(url()),
        }
    }
    Ok(CompareResult::Both(Box::new(comparison)))
}

fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (BufReader::new(File::open(one)?), BufReader::new(File::open(other)?));
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let count = left.len().min(right.len());
        if left[..count] != right[..count] || (count == 0 && left.len() != right.len()) {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
        one.consume(count);
        other.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn all_bytes_are_compared() {
        let scratch = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = scratch.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let long = vec![7; 100_000];
        let mut other = long.clone();
        other[99_999] = 8;
        let (long, longer) = (file("long", &long), file("longer", &[&long[..], b"x"].concat()));
        let (other, empty) = (file("other", &other), file("empty", b""));
        for (one, two, same) in [
            (&long, &long, true),
            (&long, &longer, false),
            (&long, &other, false),
            (&empty, &empty, true),
            (&empty, &long, false),
        ] {
            assert_eq!(same_bytes(one, two).unwrap(), same);
            assert_eq!(same_bytes(two, one).unwrap(), same);
        }
    }
}
