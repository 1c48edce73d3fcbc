//! Who writes to a part file. The sidecar says so, because a lock may be seen by one machine only: NFS mounted with
//! `local_lock`, many FUSE file systems, Lustre without `flock`. Pure: what the system knows of a process and what time
//! it is are arguments.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An owner who may be dead or not counts as dead when the sidecar was not written for so long.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// The process that writes to a part file, named so that no other process anywhere has the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Host name, boot and process namespace: two processes with the same host see each other.
    pub host: String,
    pub process: u32,
    /// When the process began, in the system's own unit: its number may be given to another one later.
    pub started: Option<u64>,
    /// Chosen for one opening of one part file.
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

/// Whether a part file is still its owner's. `age` tells how long ago the sidecar was written, by the file system's own
/// clock, and is asked only where it matters; an age that cannot be told ends no ownership.
pub fn is_live(liveness: Liveness, age: impl FnOnce() -> Option<Duration>) -> bool {
    match liveness {
        Liveness::Alive => true,
        Liveness::Dead => false,
        Liveness::Unknown => age().is_none_or(|age| age < DEAD_AFTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_live_until_it_is_known_to_be_dead_or_silent_for_a_minute() {
        for (liveness, age, live) in [
            (Liveness::Alive, Some(0), true),
            (Liveness::Alive, Some(3600), true),
            (Liveness::Dead, Some(0), false),
            (Liveness::Dead, None, false),
            (Liveness::Unknown, Some(0), true),
            (Liveness::Unknown, Some(59), true),
            (Liveness::Unknown, Some(60), false),
            (Liveness::Unknown, None, true),
        ] {
            assert_eq!(is_live(liveness, || age.map(Duration::from_secs)), live, "{liveness:?} {age:?}");
        }
    }
}
