//! Measuring what running side by side gains: every download twice, one after another and then side by side.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use crate::error::Error;
use crate::options::{IfExists, Mode, Options, Output};
use crate::plan::Plan;
use crate::run::{Control, Reporter, Summary, make_directory, run_in};

/// Both runs of a comparison.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The plain loop, which went first.
    pub sequential: Summary,
    /// The threads, whose files stay.
    pub concurrent: Summary,
    /// Redacted URLs of files of which the two runs got different bytes.
    pub differing: Vec<String>,
    /// Files of which both runs got the same bytes.
    pub same: usize,
}

/// What came of comparing.
#[derive(Debug, Clone)]
pub enum Compared {
    /// Both runs went to their ends.
    Both(Box<Comparison>),
    /// The first was cancelled, or took all the time; its files are in the scratch directory, and go with it.
    FirstOnly(Summary),
}

impl Comparison {
    /// How many times as fast the threads were; `None` unless both runs got every file, for else the times say nothing.
    #[must_use]
    pub fn speed_up(&self) -> Option<f64> {
        let complete = self.same == self.concurrent.total;
        let seconds = self.concurrent.elapsed.as_secs_f64();
        (complete && seconds > 0.0).then(|| self.sequential.elapsed.as_secs_f64() / seconds)
    }
}

/// Downloads a plan with the plain loop into `scratch`, then with threads into its target directory, and compares the
/// files.
///
/// `controls` are for the first and the second run. The second does not start if the first was cancelled.
///
/// # Errors
///
/// A directory cannot be made.
pub fn compare(
    plan: &Plan,
    options: &Options,
    scratch: &Path,
    reporter: &dyn Reporter,
    controls: &[Control; 2],
) -> Result<Compared, Error> {
    let in_mode = |mode, directory: &Path| {
        let mut options = options.clone();
        options.limits.mode = mode;
        // What is compared is a thread for each file, not several.
        options.limits.split = false;
        options.output = Output { directory: directory.to_owned(), if_exists: IfExists::Fail, ..options.output };
        options
    };
    let [first, second] = controls;
    let target = &options.output.directory;
    make_directory(scratch, false)?;
    make_directory(target, options.output.fsync)?;
    let sequential = run_in(plan, &in_mode(Mode::Sequential, scratch), reporter, first)?;
    if first.is_cancelled() {
        return Ok(Compared::FirstOnly(sequential));
    }
    let mut options = in_mode(Mode::Concurrent, target);
    options.limits.max_time = options.limits.max_time.map(|time| time.saturating_sub(sequential.elapsed));
    let concurrent = run_in(plan, &options, reporter, second)?;
    let mut comparison = Comparison { sequential, concurrent, differing: Vec::new(), same: 0 };
    for download in plan.downloads() {
        match same_bytes(&download.path(scratch), &download.path(target)) {
            Ok(true) => comparison.same += 1,
            Ok(false) => comparison.differing.push(download.url.to_string()),
            // One of the runs did not get it, and its summary says so.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => comparison.differing.push(download.url.to_string()),
        }
    }
    Ok(Compared::Both(Box::new(comparison)))
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
    fn bytes_are_compared_to_the_last() {
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
