//! The command and the library against a faulty server on loopback.

mod command;
mod mode;
mod server;

mod chaos;
mod compare;
mod failures;
mod fetching;
mod formats;
mod growing;
mod habits;
mod help;
mod keeping;
mod library;
mod limits;
mod list_rules;
mod lists;
mod names;
mod network;
mod proxies;
mod remote_list;
mod remote_name;
mod reports;
mod resume;
mod retries;
mod splitting;
mod structure;
mod targets;
mod wrong_bytes;

#[cfg(unix)]
mod aria2;
#[cfg(target_os = "linux")]
mod disks;
#[cfg(unix)]
mod interrupts;
#[cfg(target_os = "linux")]
mod intruders;
#[cfg(target_os = "linux")]
mod nginx;
#[cfg(target_os = "linux")]
mod open_files;
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
mod provenance;
#[cfg(target_os = "linux")]
mod resolver;
#[cfg(unix)]
mod terminal;
