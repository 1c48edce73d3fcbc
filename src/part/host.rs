//! This process as the owner of part files, and what the system knows of other owners.

use std::sync::OnceLock;

use super::owner::{Liveness, Owner};

/// A new name for this process as the owner of one part file.
pub fn new_owner() -> Owner {
    static THIS: OnceLock<Owner> = OnceLock::new();
    let this = THIS.get_or_init(|| {
        let process = std::process::id();
        Owner { host: imp::host(), process, started: imp::look(process).and_then(Result::ok), nonce: 0 }
    });
    Owner { nonce: fastrand::u64(..), ..this.clone() }
}

/// Whether the process of an owner still runs, as far as this one can tell. Of its own part files it cannot: another
/// thread has one, or could not say that it had let go of it.
pub fn liveness(owner: &Owner) -> Liveness {
    let this = new_owner();
    if owner.host != this.host || owner.host.is_empty() || owner.process == this.process {
        return if is_earlier_life(owner, &this) { Liveness::Dead } else { Liveness::Unknown };
    }
    match imp::look(owner.process) {
        Some(Err(imp::Gone)) => Liveness::Dead,
        Some(Ok(started)) if owner.started.is_some_and(|own| own != started) => Liveness::Dead,
        Some(Ok(_)) => Liveness::Alive,
        None => Liveness::Unknown,
    }
}

/// Whether an owner had this process's number on this host before this process began.
fn is_earlier_life(owner: &Owner, this: &Owner) -> bool {
    let is_here = owner.host == this.host && !owner.host.is_empty() && owner.process == this.process;
    is_here && owner.started.is_some() && this.started.is_some() && owner.started != this.started
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod imp {
    use std::fs;

    use rustix::io::Errno;
    use rustix::process::{Pid, test_kill_process};

    /// There is no such process, or it has ended and its parent has not looked yet.
    #[derive(Debug)]
    pub struct Gone;

    /// Nothing without a boot identifier: machines made from one image may share a name.
    pub fn host() -> String {
        let Ok(boot) = fs::read_to_string("/proc/sys/kernel/random/boot_id") else { return String::new() };
        let Ok(namespace) = fs::read_link("/proc/self/ns/pid") else { return String::new() };
        let system = rustix::system::uname();
        format!("{} {} {}", system.nodename().to_string_lossy(), boot.trim(), namespace.display())
    }

    /// When a process began, in clock ticks since the boot; `None` where that cannot be told.
    pub fn look(process: u32) -> Option<Result<u64, Gone>> {
        let pid = Pid::from_raw(i32::try_from(process).ok()?)?;
        if test_kill_process(pid) == Err(Errno::SRCH) {
            return Some(Err(Gone));
        }
        // proc_pid_stat(5): the name, in parentheses, may hold anything; the state is the first field after it, and the
        // start time the twentieth.
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace();
        match fields.next()? {
            "Z" | "X" => Some(Err(Gone)),
            _ => Some(Ok(fields.nth(18)?.parse().ok()?)),
        }
    }
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
mod imp {
    use rustix::io::Errno;
    use rustix::process::{Pid, test_kill_process};

    /// There is no such process.
    #[derive(Debug)]
    pub struct Gone;

    pub fn host() -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    /// Whether a process has gone. When it began is not asked here, so one that is there may be another by now.
    pub fn look(process: u32) -> Option<Result<u64, Gone>> {
        let pid = Pid::from_raw(i32::try_from(process).ok()?)?;
        (test_kill_process(pid) == Err(Errno::SRCH)).then_some(Err(Gone))
    }
}

#[cfg(not(unix))]
mod imp {
    /// There is no such process.
    #[derive(Debug)]
    pub struct Gone;

    pub fn host() -> String {
        std::env::var("COMPUTERNAME").unwrap_or_default()
    }

    /// Not asked here: a lock that could be taken says it (see `platform::LOCKS_ARE_PROOF`), or the time does.
    pub const fn look(_: u32) -> Option<Result<u64, Gone>> {
        None
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
        let started = imp::look(child.id()).unwrap().unwrap();
        let of_child = Owner { process: child.id(), started: Some(started), ..new_owner() };
        assert_eq!(liveness(&of_child), Liveness::Alive);
        assert_eq!(liveness(&Owner { started: Some(started + 1), ..of_child.clone() }), Liveness::Dead);
        drop(child.stdin.take());
        // It has ended when its output is closed, and is a zombie until it is waited for.
        while matches!(imp::look(child.id()), Some(Ok(_))) {
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
