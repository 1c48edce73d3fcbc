//! Which process writes to a part file. The sidecar names it, because a lock may hold on one machine only: NFS mounted
//! with `local_lock`, Lustre with `localflock`, many FUSE file systems. Pure: what is known of the process, and the age
//! of the sidecar, are arguments.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An owner of which nothing else is known counts as dead after this time without a checkpoint.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// The process that writes to a part file, told from every other process on any machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Host name, boot and process namespace: two processes with the same value can look each other up. Empty where
    /// that is unknown.
    pub host: String,
    pub process: u32,
    /// When the process began, in the system's own unit: process numbers are reused.
    pub started: Option<u64>,
    /// Random, for each part file that is opened.
    pub nonce: u64,
}

/// What the system knows of an owner's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    Alive,
    Dead,
    /// It is on another machine, or this system cannot tell.
    Unknown,
}

/// An ownership that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// The time after which it has ended, unless the sidecar is written again; `None` where no time decides.
    pub free_in: Option<Duration>,
}

/// A file system's times may be this coarse.
const COARSENESS: Duration = Duration::from_secs(1);

/// Whether a part file still belongs to its owner. `age` is the time since the sidecar was written, by the file system's
/// own clock; it is computed only where it decides, and an unknown age ends no ownership.
pub fn live(liveness: Liveness, age: impl FnOnce() -> Option<Duration>) -> Option<Live> {
    let remaining = |age| DEAD_AFTER.checked_sub(age).filter(|remaining| !remaining.is_zero());
    match liveness {
        Liveness::Alive => Some(Live { free_in: None }),
        Liveness::Dead => None,
        Liveness::Unknown => age().map_or(Some(Live { free_in: None }), |age| {
            let remaining = remaining(age)?;
            Some(Live { free_in: Some((remaining + COARSENESS).min(DEAD_AFTER)) })
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_live_until_it_is_known_to_be_dead_or_silent_for_a_minute() {
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
            let expected = expected.map(|free_in| Live { free_in: free_in.map(Duration::from_secs) });
            assert_eq!(live(liveness, || age.map(Duration::from_secs)), expected, "{liveness:?} {age:?}");
        }
    }
}
