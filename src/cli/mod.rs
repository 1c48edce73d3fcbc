//! The command: takes arguments and returns an exit code. The library does the downloading.

mod args;
mod command;
mod exit;
mod fetch;
mod habits;
mod input;
mod list_args;
mod pieces;
mod remote_list;
mod signal;
mod stdin;
mod sums;
mod supervise;
mod values;
mod warnings;

pub use command::run_command;
