//! The command and the library against a faulty server on loopback.

mod command;
mod server;

mod chaos;
mod compare;
mod failures;
mod fetching;
mod help;
mod library;
mod limits;
mod lists;
mod names;
mod network;
mod reports;
mod resume;
mod retries;
mod structure;
mod targets;

#[cfg(unix)]
mod interrupts;
#[cfg(target_os = "linux")]
mod nginx;
#[cfg(unix)]
mod terminal;
