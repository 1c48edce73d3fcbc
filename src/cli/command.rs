//! The command's entry point: parses the command line, runs the subcommand, and turns errors into messages and exit
//! codes.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use super::args::{Args, Command};
use super::exit::Exit;
use super::fetch::fetch;
use crate::error::Error;
use crate::report::write_stderr;

/// Runs `tdl` and returns the exit code for the process. The first argument is the program's name.
///
/// Like the `tdl` process, it writes to standard output and standard error and installs signal handlers. At a second
/// SIGINT, SIGTERM or SIGHUP, the handler exits the process.
pub fn run_command(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let exit = match Args::try_parse_from(arguments) {
        Ok(Args { command: Command::Fetch(args) }) => {
            args.resolve(|name| std::env::var_os(name)).and_then(fetch).unwrap_or_else(|error| report_error(&error))
        }
        Err(error) => report_usage(&error),
    };
    ExitCode::from(exit.code())
}

/// Reports an error that kept the run from starting.
fn report_error(error: &anyhow::Error) -> Exit {
    if error.downcast_ref().is_some_and(Error::is_temporary) {
        write_stderr(&format!("{error:#}; the same command may succeed later\n"));
        return Exit::Temporary;
    }
    write_stderr(&format!("{error:#}\n"));
    Exit::NotStarted
}

/// Prints clap's output: help, version or a usage error.
fn report_usage(error: &clap::Error) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // clap uses colours only if the terminal supports them. A closed standard output is not a failure.
        let _ = error.print();
        return Exit::Success;
    }
    if error.kind() == ErrorKind::InvalidSubcommand && error.to_string().contains("://") {
        // clap's message would show the URL, including any secrets in it.
        write_stderr("a URL is not a command; to download it, use 'tdl fetch URL'\n");
    } else {
        let _ = error.print();
    }
    Exit::NotStarted
}
