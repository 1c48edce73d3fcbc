//! What identifies a machine, and when a process on it started.

#[cfg(any(target_os = "linux", target_os = "android"))]
pub use linux::{machine_id, start_time};
#[cfg(not(unix))]
pub use other::{machine_id, start_time};
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
pub use unix::{machine_id, start_time};

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::path::Path;
    use std::{fs, io};

    use rustix::io::Errno;
    use rustix::process::{Pid, test_kill_process};

    /// Returns host name, boot identifier and process namespace. Empty without a boot identifier, because machines made
    /// from one image may share a host name, and if /proc shows a different namespace from this process's.
    pub fn machine_id() -> String {
        let number = std::process::id().to_string();
        if fs::read_link("/proc/self").ok().as_deref() != Some(Path::new(&number)) {
            return String::new();
        }
        let Ok(boot) = fs::read_to_string("/proc/sys/kernel/random/boot_id") else { return String::new() };
        let Ok(namespace) = fs::read_link("/proc/self/ns/pid") else { return String::new() };
        let system = rustix::system::uname();
        format!("{} {} {}", system.nodename().to_string_lossy(), boot.trim(), namespace.display())
    }

    /// Returns when a process started, in clock ticks since boot; `None` if it has ended.
    pub fn start_time(process: u32) -> io::Result<Option<u64>> {
        let unknown = || io::Error::from(io::ErrorKind::Unsupported);
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw).ok_or_else(unknown)?;
        if test_kill_process(pid) == Err(Errno::SRCH) {
            return Ok(None);
        }
        // proc_pid_stat(5): the command, in parentheses, may contain anything. The state is the first field after it,
        // the start time the twentieth.
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').ok_or_else(unknown)?;
        let mut fields = fields.split_ascii_whitespace();
        // A zombie no longer writes anything.
        if let Some("Z" | "X") = fields.next() {
            return Ok(None);
        }
        fields.nth(18).and_then(|ticks| ticks.parse().ok()).map(Some).ok_or_else(unknown)
    }
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
mod unix {
    use std::io;

    use rustix::io::Errno;
    use rustix::process::{Pid, test_kill_process};

    /// Returns the host name.
    pub fn machine_id() -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    /// Returns `None` if the process has ended, or else an error: start times are not read here, so the process with
    /// that number may be a later one.
    pub fn start_time(process: u32) -> io::Result<Option<u64>> {
        let unknown = || io::Error::from(io::ErrorKind::Unsupported);
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw).ok_or_else(unknown)?;
        if test_kill_process(pid) == Err(Errno::SRCH) { Ok(None) } else { Err(unknown()) }
    }
}

#[cfg(not(unix))]
mod other {
    use std::io;

    /// Returns the host name.
    pub fn machine_id() -> String {
        std::env::var("COMPUTERNAME").unwrap_or_default()
    }

    /// Always unknown: a lock decides (see `LOCKS_SPAN_MACHINES`), or else the age of the sidecar.
    pub fn start_time(_: u32) -> io::Result<Option<u64>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
