//! The command: takes arguments and returns an exit code. The library does the downloading.

mod args;
mod command;
mod exit;
mod fetch;
mod habits;
mod input;
mod remote_list;
mod signal;
mod supervise;
mod values;

pub use command::run_command;
