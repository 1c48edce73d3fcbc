//! This process as an owner of part files, and whether other owners are still running.

use std::sync::OnceLock;

use super::owner::{Liveness, Owner};
use super::platform::{machine_id, start_time};

/// Returns an owner that names this process, for one more part file.
pub fn new_owner() -> Owner {
    static THIS: OnceLock<Owner> = OnceLock::new();
    let this = THIS.get_or_init(|| {
        let process = std::process::id();
        Owner { machine: machine_id(), process, started: start_time(process).ok().flatten(), nonce: 0 }
    });
    Owner { nonce: fastrand::u64(..), ..this.clone() }
}

/// Returns a token with which other processes can check whether this one is still running.
#[cfg(feature = "cli")]
#[must_use]
pub fn process_token() -> String {
    serde_json::to_string(&new_owner()).unwrap_or_default()
}

/// Whether the process that wrote a [`process_token`] has ended; `None` if unknown, or if the text is not a token.
#[cfg(feature = "cli")]
#[must_use]
pub fn process_has_ended(token: &str) -> Option<bool> {
    let owner: Owner = serde_json::from_str(token).ok()?;
    match liveness(&owner) {
        Liveness::Alive => Some(false),
        Liveness::Dead => Some(true),
        Liveness::Unknown => None,
    }
}

/// Returns whether an owner's process is still running. For this process's own part files that is unknown: another
/// thread may have one open, or may have failed to release it.
pub fn liveness(owner: &Owner) -> Liveness {
    let this = new_owner();
    if owner.machine.is_empty() || owner.machine != this.machine {
        return Liveness::Unknown;
    }
    match start_time(owner.process) {
        Ok(None) => Liveness::Dead,
        Ok(Some(found)) if owner.started.is_some_and(|recorded| recorded != found) => Liveness::Dead,
        Ok(Some(_)) if owner.process != this.process => Liveness::Alive,
        Ok(Some(_)) | Err(_) => Liveness::Unknown,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_alive_until_it_ends_and_others_are_unknown() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let this = new_owner();
        let started = start_time(child.id()).unwrap().unwrap();
        let owner_of_child = Owner { process: child.id(), started: Some(started), ..new_owner() };
        assert_eq!(liveness(&owner_of_child), Liveness::Alive);
        assert_eq!(liveness(&Owner { started: Some(started + 1), ..owner_of_child.clone() }), Liveness::Dead);
        drop(child.stdin.take());
        // It ends when its input closes, and is a zombie until it is reaped.
        while matches!(start_time(child.id()), Ok(Some(_))) {
            std::thread::yield_now();
        }
        assert_eq!(liveness(&owner_of_child), Liveness::Dead, "a zombie writes nothing");
        child.wait().unwrap();
        assert_eq!(liveness(&owner_of_child), Liveness::Dead);
        assert_eq!(liveness(&Owner { machine: "elsewhere".to_owned(), ..owner_of_child.clone() }), Liveness::Unknown);
        assert_eq!(liveness(&Owner { machine: String::new(), ..owner_of_child }), Liveness::Unknown);
        assert_eq!(liveness(&Owner { nonce: 1, ..this.clone() }), Liveness::Unknown, "one of our own");
        assert_eq!(liveness(&Owner { started: Some(1), ..this.clone() }), Liveness::Dead, "a reused process number");
        for process in [0, u32::MAX] {
            assert_eq!(liveness(&Owner { process, ..this.clone() }), Liveness::Unknown);
        }
    }
}
