//! The command's entry point: parses the command line, runs the subcommand, and turns errors into messages and exit
//! codes.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::args::{Args, Command};
use super::exit::Exit;
use super::fetch::fetch;
use super::habits::advice;
use crate::error::Error;
use crate::report::write_error;

/// Runs `tdl` and returns the exit code for the process. The first argument is the program's name.
///
/// Like the `tdl` process, it writes to standard output and standard error and installs signal handlers. At a second
/// SIGINT, SIGTERM or SIGHUP, the handler exits the process.
pub fn run_command(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let exit = match Args::try_parse_from(with_command(arguments.into_iter().map(Into::into).collect())) {
        Ok(Args { command: Command::Fetch(args) }) => {
            args.resolve(|name| std::env::var_os(name)).and_then(fetch).unwrap_or_else(|error| report_error(&error))
        }
        Err(error) => report_usage(&error),
    };
    ExitCode::from(exit.code())
}

/// Adds the command `fetch` where none is given: `tdl URL` is short for `tdl fetch URL`.
fn with_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    const OTHERS: [&str; 6] = ["fetch", "help", "-h", "--help", "-V", "--version"];
    if arguments.get(1).is_some_and(|first| OTHERS.iter().all(|other| first != other)) {
        arguments.insert(1, "fetch".into());
    }
    arguments
}

/// Reports an error that kept the run from starting.
fn report_error(error: &anyhow::Error) -> Exit {
    let is_temporary = error.downcast_ref().is_some_and(Error::is_temporary);
    let advice = if is_temporary { "; the same command may succeed later" } else { "" };
    write_error(&format!("{error:#}{advice}"));
    if is_temporary { Exit::Temporary } else { Exit::NotStarted }
}

/// Prints clap's output: help, version or a usage error.
fn report_usage(error: &clap::Error) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // clap uses colours only if the terminal supports them. A closed standard output is not a failure.
        let _ = error.print();
        return Exit::Success;
    }
    let unknown = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) if error.kind() == ErrorKind::UnknownArgument => Some(option),
        _ => None,
    };
    match unknown.and_then(|option| advice(option)) {
        Some(advice) => write_error(&advice),
        None => drop(error.print()),
    }
    Exit::NotStarted
}
