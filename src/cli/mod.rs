//! The command: arguments in, exit code out. What a run does is left to the library.

mod args;
mod command;
mod exit;
mod fetch;
mod input;
mod signal;
mod supervise;
mod values;

pub use command::run_command;
