//! The command: arguments in, exit code out.

mod args;
mod exit;
mod fetch;
mod signal;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::error::Error;
use crate::report::to_stderr;
use args::{Args, Command};
use exit::Exit;

/// Runs `tdl` with these arguments, the first being the program's name, and says how the process should end.
///
/// Writes to standard output and standard error, and handles signals, as a process of its own would.
pub fn command(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let exit = match Args::try_parse_from(arguments) {
        Ok(Args { command: Command::Fetch(fetch) }) => {
            exit(fetch.resolve(|name| std::env::var_os(name)).and_then(fetch::fetch))
        }
        Err(error) => refused(&error),
    };
    ExitCode::from(exit.code())
}

/// How it ends: what keeps a run from starting is a matter of usage, unless it may pass.
fn exit(ended: anyhow::Result<Exit>) -> Exit {
    ended.unwrap_or_else(|error| match error.downcast_ref::<Error>() {
        Some(failure) if failure.is_temporary() => {
            to_stderr(&format!("{error:#}; the same command may succeed later\n"));
            Exit::Temporary
        }
        _ => {
            to_stderr(&format!("{error:#}\n"));
            Exit::Usage
        }
    })
}

/// What clap answers: help and version as asked for, or what is wrong with the command line.
fn refused(error: &clap::Error) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // clap writes its colours only to a terminal that takes them, and a closed one is no failure.
        let _ = error.print();
        return Exit::Success;
    }
    if error.kind() == ErrorKind::InvalidSubcommand && error.to_string().contains("://") {
        // In words of our own: clap would show the URL, and what secrets it has.
        to_stderr("a URL is no command; to download, write 'tdl fetch' before the URLs\n");
    } else {
        let _ = error.print();
    }
    Exit::Usage
}
