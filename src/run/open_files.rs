//! The limit on open files, which is low by default on some systems: raised where it may be, obeyed where not.

use super::event::{Event, Reporter};

/// Files that are open whatever runs: standard streams, runtimes, certificates.
const BASE: u64 = 64;

/// A transfer has a connection and a part file open, and a sidecar for moments.
const PER_JOB: u64 = 3;

/// Connections that may be kept open for later, where no limit says otherwise.
const MAX_IDLE: usize = 1024;

/// What the limit on open files allows.
#[derive(Debug, Clone, Copy)]
pub struct Affordable {
    /// Threads to start.
    pub jobs: usize,
    /// Threads that there may be.
    pub most: usize,
    /// Connections that may be kept open while nothing uses them.
    pub idle: usize,
}

/// As many of the `jobs` that there are to start, and of the `most` that could find something to do, as the limit on open
/// files allows, after it was raised as far as it may be.
pub fn affordable(jobs: usize, most: usize, reporter: &dyn Reporter) -> Affordable {
    let Some(limit) = raised() else {
        return Affordable { jobs, most, idle: MAX_IDLE };
    };
    let left = limit.saturating_sub(BASE);
    // Half of it is enough for connections that nothing uses.
    let affordable = usize::try_from(left / 2 / PER_JOB).unwrap_or(most).max(1);
    if affordable < jobs {
        let warning = format!("only {limit} files may be open at once: --jobs is {affordable} instead of {jobs}");
        reporter.event(&Event::Warning(&warning));
    }
    let idle = usize::try_from(left / 2).map_or(MAX_IDLE, |idle| idle.min(MAX_IDLE));
    Affordable { jobs: jobs.min(affordable), most: most.min(affordable), idle }
}

/// The limit, raised as far as it may be; `None` if there is none.
#[cfg(unix)]
fn raised() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};

    /// Some systems have a limit that they do not name, and refuse all that is above it.
    const COMFORTABLE: u64 = 4096;

    let limit = getrlimit(Resource::Nofile);
    let current = limit.current?;
    let aims = [limit.maximum.unwrap_or(u64::MAX), COMFORTABLE.min(limit.maximum.unwrap_or(COMFORTABLE))];
    let mut higher = aims.into_iter().filter(|aim| *aim > current);
    let raised = higher.find(|aim| {
        let current = Some(*aim).filter(|aim| *aim != u64::MAX);
        setrlimit(Resource::Nofile, rustix::process::Rlimit { current, ..limit }).is_ok()
    });
    Some(raised.unwrap_or(current))
}

#[cfg(not(unix))]
const fn raised() -> Option<u64> {
    None
}
