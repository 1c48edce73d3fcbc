//! The limit on open files, which is low by default on some systems: raised as far as possible, and respected.

use crate::options::{Limits, Mode};

/// Files that are open in any run: standard streams, runtimes, certificates.
const BASE: u64 = 64;

/// A download has a connection and a part file open, and briefly a sidecar.
const PER_THREAD: u64 = 3;

/// How many idle connections to keep if the limit allows.
const MAX_IDLE: usize = 1024;

/// What the limit on open files allows.
#[derive(Debug, Clone, Copy)]
pub struct OpenFileBudget {
    /// Threads to start.
    pub threads: usize,
    /// The most threads to start, once there are files to split.
    pub max_threads: usize,
    /// Connections to keep open while nothing uses them.
    pub max_idle_connections: usize,
}

impl OpenFileBudget {
    /// The budget for a run of this many downloads. Raises this process's limit as far as permitted. Also returns a
    /// warning if there can be fewer threads than `limits` and the list call for.
    pub fn for_run(limits: &Limits, downloads: usize) -> (Self, Option<String>) {
        let (threads, max_threads) = match limits.mode {
            Mode::Sequential => (1, 1),
            Mode::Concurrent => {
                let threads = limits.jobs.get().min(downloads).max(1);
                (threads, if limits.split { limits.jobs.get() } else { threads })
            }
        };
        let Some(limit) = raise_limit() else {
            return (Self { threads, max_threads, max_idle_connections: MAX_IDLE }, None);
        };
        // Half of the files are for downloads, the other half for idle connections.
        let half = limit.saturating_sub(BASE) / 2;
        let affordable = usize::try_from(half / PER_THREAD).unwrap_or(max_threads).max(1);
        let warning = (affordable < threads)
            .then(|| format!("only {limit} files may be open at once: --jobs is {affordable} instead of {threads}"));
        let budget = Self {
            threads: threads.min(affordable),
            max_threads: max_threads.min(affordable),
            max_idle_connections: usize::try_from(half).map_or(MAX_IDLE, |idle| idle.min(MAX_IDLE)),
        };
        (budget, warning)
    }
}

/// Raises the limit as far as permitted, and returns it; `None` if there is none.
#[cfg(unix)]
fn raise_limit() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};

    /// Some systems, such as macOS, report no maximum, yet refuse values above one that they do not report.
    const FALLBACK_LIMIT: u64 = 4096;

    let limit = getrlimit(Resource::Nofile);
    let current = limit.current?;
    let aims = [limit.maximum.unwrap_or(u64::MAX), FALLBACK_LIMIT.min(limit.maximum.unwrap_or(FALLBACK_LIMIT))];
    let mut higher = aims.into_iter().filter(|aim| *aim > current);
    let raised = higher.find(|aim| {
        let current = Some(*aim).filter(|aim| *aim != u64::MAX);
        setrlimit(Resource::Nofile, rustix::process::Rlimit { current, ..limit }).is_ok()
    });
    Some(raised.unwrap_or(current))
}

#[cfg(not(unix))]
const fn raise_limit() -> Option<u64> {
    None
}
