//! Which process writes to a part file. The sidecar names it, because a lock may hold on one machine only: NFS mounted
//! with `local_lock`, Lustre with `localflock`, many FUSE file systems. Pure: what is known about the process, and the
//! age of the sidecar, are arguments.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// An owner whose process cannot be looked up is presumed dead after this long without a checkpoint.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// The resolution of a file system's timestamps may be this coarse.
const TIMESTAMP_RESOLUTION: Duration = Duration::from_secs(1);

/// The process that writes to a part file, distinct from every other process on any machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Host name, boot and process namespace: two processes with the same value can look each other up. Empty if
    /// unknown.
    #[serde(rename = "host")]
    pub machine: String,
    pub process: u32,
    /// When the process started, in the system's own unit: process numbers are reused.
    pub started: Option<u64>,
    /// Random, for each part file that is opened.
    pub nonce: u64,
}

/// Which processes a lock on a part file excludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockScope {
    /// Every other process: the lock proves that no other one writes to the file.
    AllMachines,
    /// Those on this machine at most. The file system may have no locks at all.
    ThisMachine,
}

/// What the system knows about an owner's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    Alive,
    Dead,
    /// It is on another machine, or this system cannot tell.
    Unknown,
}

/// An ownership that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveOwnership {
    /// How long until it ends, unless the sidecar is written again; `None` if the process is alive or the sidecar's age
    /// is unknown.
    pub free_in: Option<Duration>,
}

impl LiveOwnership {
    pub fn into_error(self, part: &Path) -> Error {
        Error::Locked { path: part.to_owned(), free_in: self.free_in }
    }
}

/// Returns the ownership of a part file if it has not ended. `age` is the time since the sidecar was written, by the
/// file system's own clock. It is computed only if needed, and an unknown age ends no ownership.
pub fn live_ownership(liveness: Liveness, age: impl FnOnce() -> Option<Duration>) -> Option<LiveOwnership> {
    let remaining = |age| DEAD_AFTER.checked_sub(age).filter(|remaining| !remaining.is_zero());
    match liveness {
        Liveness::Alive => Some(LiveOwnership { free_in: None }),
        Liveness::Dead => None,
        Liveness::Unknown => age().map_or(Some(LiveOwnership { free_in: None }), |age| {
            let remaining = remaining(age)?;
            Some(LiveOwnership { free_in: Some((remaining + TIMESTAMP_RESOLUTION).min(DEAD_AFTER)) })
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_live_until_known_dead_or_silent_for_a_minute() {
        for (liveness, age, expected) in [
            (Liveness::Alive, Some(0), Some(None)),
            (Liveness::Alive, Some(3600), Some(None)),
            (Liveness::Dead, Some(0), None),
            (Liveness::Dead, None, None),
            (Liveness::Unknown, Some(0), Some(Some(60))),
            (Liveness::Unknown, Some(20), Some(Some(41))),
            (Liveness::Unknown, Some(59), Some(Some(2))),
            (Liveness::Unknown, Some(60), None),
            (Liveness::Unknown, Some(61), None),
            (Liveness::Unknown, None, Some(None)),
        ] {
            let expected = expected.map(|free_in| LiveOwnership { free_in: free_in.map(Duration::from_secs) });
            assert_eq!(live_ownership(liveness, || age.map(Duration::from_secs)), expected, "{liveness:?} {age:?}");
        }
    }
}
