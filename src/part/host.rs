//! This process as the owner of part files, and what the system knows about other owners.

use std::sync::OnceLock;

use super::owner::{Liveness, Owner};

/// This process as the owner of one more part file.
pub fn new_owner() -> Owner {
    static THIS: OnceLock<Owner> = OnceLock::new();
    let this = THIS.get_or_init(|| {
        let process = std::process::id();
        Owner { host: imp::host(), process, started: imp::started(process).ok().flatten(), nonce: 0 }
    });
    Owner { nonce: fastrand::u64(..), ..this.clone() }
}

/// A text by which other processes can tell whether this one still runs.
#[must_use]
pub fn token() -> String {
    serde_json::to_string(&new_owner()).unwrap_or_default()
}

/// Whether the process that wrote a [`token`] has ended; `None` if that cannot be told, or the text is none.
#[must_use]
pub fn has_ended(token: &str) -> Option<bool> {
    let owner: Owner = serde_json::from_str(token).ok()?;
    match liveness(&owner) {
        Liveness::Alive => Some(false),
        Liveness::Dead => Some(true),
        Liveness::Unknown => None,
    }
}

/// Whether the process of an owner still runs, as far as this one can tell. Of its own part files it cannot: another
/// thread may have one open, or may have failed to give it up.
pub fn liveness(owner: &Owner) -> Liveness {
    let this = new_owner();
    if owner.host.is_empty() || owner.host != this.host {
        return Liveness::Unknown;
    }
    match imp::started(owner.process) {
        Ok(None) => Liveness::Dead,
        Ok(Some(started)) if owner.started.is_some_and(|own| own != started) => Liveness::Dead,
        Ok(Some(_)) if owner.process != this.process => Liveness::Alive,
        Ok(Some(_)) | Err(_) => Liveness::Unknown,
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod imp {
    use std::path::Path;
    use std::{fs, io};

    use rustix::io::Errno;
    use rustix::process::{Pid, test_kill_process};

    /// Empty without a boot identifier, for machines made from one image may share a host name; and where /proc shows the
    /// processes of another namespace than this process's.
    pub fn host() -> String {
        let number = std::process::id().to_string();
        if fs::read_link("/proc/self").ok().as_deref() != Some(Path::new(&number)) {
            return String::new();
        }
        let Ok(boot) = fs::read_to_string("/proc/sys/kernel/random/boot_id") else { return String::new() };
        let Ok(namespace) = fs::read_link("/proc/self/ns/pid") else { return String::new() };
        let system = rustix::system::uname();
        format!("{} {} {}", system.nodename().to_string_lossy(), boot.trim(), namespace.display())
    }

    /// When a process began, in clock ticks since the boot; `None` if it has ended.
    pub fn started(process: u32) -> io::Result<Option<u64>> {
        let unknown = || io::Error::from(io::ErrorKind::Unsupported);
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw).ok_or_else(unknown)?;
        if test_kill_process(pid) == Err(Errno::SRCH) {
            return Ok(None);
        }
        // proc_pid_stat(5): the command, in parentheses, may hold anything. The state is the first field after it, the
        // start time the twentieth.
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').ok_or_else(unknown)?;
        let mut fields = fields.split_ascii_whitespace();
        // A zombie writes nothing any more.
        if let Some("Z" | "X") = fields.next() {
            return Ok(None);
        }
        fields.nth(18).and_then(|ticks| ticks.parse().ok()).map(Some).ok_or_else(unknown)
    }
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
mod imp {
    use std::io;

    use rustix::io::Errno;
    use rustix::process::{Pid, test_kill_process};

    pub fn host() -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    /// `None` if a process has ended. A start time is not read here, so a process that exists may be another one by now.
    pub fn started(process: u32) -> io::Result<Option<u64>> {
        let unknown = || io::Error::from(io::ErrorKind::Unsupported);
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw).ok_or_else(unknown)?;
        if test_kill_process(pid) == Err(Errno::SRCH) { Ok(None) } else { Err(unknown()) }
    }
}

#[cfg(not(unix))]
mod imp {
    use std::io;

    pub fn host() -> String {
        std::env::var("COMPUTERNAME").unwrap_or_default()
    }

    /// Not known here: a lock decides (see `platform::LOCKS_ARE_PROOF`), or else the time.
    pub fn started(_: u32) -> io::Result<Option<u64>> {
        Err(io::ErrorKind::Unsupported.into())
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
        let started = imp::started(child.id()).unwrap().unwrap();
        let of_child = Owner { process: child.id(), started: Some(started), ..new_owner() };
        assert_eq!(liveness(&of_child), Liveness::Alive);
        assert_eq!(liveness(&Owner { started: Some(started + 1), ..of_child.clone() }), Liveness::Dead);
        drop(child.stdin.take());
        // It ends with its input, and is a zombie until it is waited for.
        while matches!(imp::started(child.id()), Ok(Some(_))) {
            std::thread::yield_now();
        }
        assert_eq!(liveness(&of_child), Liveness::Dead, "a zombie writes nothing");
        child.wait().unwrap();
        assert_eq!(liveness(&of_child), Liveness::Dead);
        assert_eq!(liveness(&Owner { host: "elsewhere".to_owned(), ..of_child.clone() }), Liveness::Unknown);
        assert_eq!(liveness(&Owner { host: String::new(), ..of_child }), Liveness::Unknown);
        assert_eq!(liveness(&Owner { nonce: 1, ..this.clone() }), Liveness::Unknown, "one of our own");
        assert_eq!(liveness(&Owner { started: Some(1), ..this.clone() }), Liveness::Dead, "a number used again");
        for process in [0, u32::MAX] {
            assert_eq!(liveness(&Owner { process, ..this.clone() }), Liveness::Unknown);
        }
    }
}
