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
mod library;
mod limits;
#[path = "limits.rs"]
mod limits_sequential;
mod lists;
mod names;
mod network;
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
#[cfg(unix)]
mod terminal;
