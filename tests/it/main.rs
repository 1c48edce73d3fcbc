//! The command and the library against a faulty server on loopback. Some modules stand here twice: their tests run side
//! by side and with the plain loop.

#![expect(clippy::duplicate_mod, reason = "the module's name is the mode of its tests")]

mod command;
mod server;

mod chaos;
mod compare;
mod failures;
mod fetching;
mod help;
mod keeping;
#[path = "keeping.rs"]
mod keeping_sequential;
mod library;
mod limits;
#[path = "limits.rs"]
mod limits_sequential;
mod lists;
mod names;
mod network;
mod proxies;
mod reports;
mod resume;
#[path = "resume.rs"]
mod resume_sequential;
mod retries;
#[path = "retries.rs"]
mod retries_sequential;
mod splitting;
mod structure;
mod targets;
#[path = "targets.rs"]
mod targets_sequential;
mod wrong_bytes;
#[path = "wrong_bytes.rs"]
mod wrong_bytes_sequential;

#[cfg(target_os = "linux")]
mod disks;
#[cfg(target_os = "linux")]
#[path = "disks.rs"]
mod disks_sequential;
#[cfg(unix)]
mod interrupts;
#[cfg(target_os = "linux")]
mod intruders;
#[cfg(target_os = "linux")]
#[path = "intruders.rs"]
mod intruders_sequential;
#[cfg(target_os = "linux")]
mod nginx;
#[cfg(target_os = "linux")]
mod open_files;
#[cfg(target_os = "linux")]
#[path = "open_files.rs"]
mod open_files_sequential;
#[cfg(target_os = "linux")]
mod resolver;
#[cfg(unix)]
mod terminal;
