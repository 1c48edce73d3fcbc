//! The limit on open files, which is low by default on some systems: raised where it may be, obeyed where not.

use super::event::{Event, Reporter};

/// Files that are open whatever runs: standard streams, runtimes, certificates, a few connections kept for later.
const BASE: u64 = 64;

/// A transfer has a connection and a part file open.
const PER_JOB: u64 = 2;

/// As many of the `jobs` that there are to start, and of the `most` that could find something to do, as the limit on open
/// files allows, after an attempt to raise it.
pub fn affordable(jobs: usize, most: usize, reporter: &dyn Reporter) -> (usize, usize) {
    let wanted = (most as u64).saturating_mul(PER_JOB).saturating_add(BASE);
    let Some(limit) = raised(wanted).filter(|limit| *limit < wanted) else {
        return (jobs, most);
    };
    let affordable = usize::try_from(limit.saturating_sub(BASE) / PER_JOB).unwrap_or(most).max(1);
    if affordable < jobs {
        let warning = format!("only {limit} files may be open at once: --jobs is {affordable} instead of {jobs}");
        reporter.event(&Event::Warning(&warning));
    }
    (jobs.min(affordable), affordable)
}

/// The limit, raised to `wanted` if it was lower and may be; `None` if there is none.
#[cfg(unix)]
fn raised(wanted: u64) -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};

    /// Room for connections that are kept open between downloads.
    const COMFORTABLE: u64 = 4096;

    let mut limit = getrlimit(Resource::Nofile);
    let current = limit.current?;
    let aim = limit.maximum.map_or(wanted.max(COMFORTABLE), |maximum| wanted.max(COMFORTABLE).min(maximum));
    if current < aim {
        limit.current = Some(aim);
        if setrlimit(Resource::Nofile, limit).is_ok() {
            return Some(aim);
        }
    }
    Some(current)
}

#[cfg(not(unix))]
const fn raised(_: u64) -> Option<u64> {
    None
}
