//! The command line as typed (`Args`), and what it means (`FetchCommand`): resolved once and never changed afterwards.

use std::ffi::OsString;
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use clap::{Parser, Subcommand, ValueEnum};

use super::list_args::ListArgs;
use super::values::{parse_at_least_one, parse_count, parse_duration, parse_headers, parse_name, parse_size};
use crate::http::proxies_from_environment;
use crate::options::{IfExists, Limits, Mode, Network, Options, Output, Retry};
use crate::plan::list::ListSettings;
use crate::plan::{Layout, SafeName};
use crate::report::{DisplayOptions, ProgressMode, Verbosity};
use crate::text::safe_path;

/// Download lists of files concurrently and check that every file is complete
#[derive(Debug, Parser)]
#[command(
    name = "tdl",
    bin_name = "tdl",
    version,
    override_usage = "tdl [OPTIONS] URL...\n       tdl [OPTIONS] -i FILE\n       tdl help fetch",
    after_help = "'tdl' without a command is 'tdl fetch'; 'tdl help fetch' shows its options.",
    args_override_self = true,
    arg_required_else_help = true
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Download URLs from arguments and lists
    Fetch(FetchArgs),
}

const EXAMPLES: &str = "\
Examples:
  tdl fetch https://example.org/a.iso https://example.org/b.iso -o downloads
  tdl fetch -i urls.txt -o downloads
  grep -o 'https://[^\"]*' page.html | tdl fetch -i -
  tdl fetch -i runs.tsv --column url=fastq_ftp,md5=fastq_md5 -o reads
  tdl fetch -i urls.txt --sums SHA256SUMS -o downloads
  tdl fetch -i urls.txt -o downloads --compare
docs/lists.md shows the formats of lists, with an example and a command for each.

Exit codes: 0 all fetched or already there, 1 some failed permanently, 2 invalid command line or
list, or output directory not writable, 75 some failed temporarily (run it again),
130, 143 or 129 interrupted";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct FetchArgs {
    /// Absolute http or https URLs to download
    #[arg(value_name = "URL")]
    urls: Vec<String>,

    #[command(flatten)]
    lists: ListArgs,

    #[command(flatten)]
    files: FileArgs,

    #[command(flatten)]
    concurrency: ConcurrencyArgs,

    #[command(flatten)]
    retry: RetryArgs,

    #[command(flatten)]
    request: RequestArgs,

    #[command(flatten)]
    display: DisplayArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct FileArgs {
    /// Directory to save files in, created if missing (-O names a single file)
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output_dir: PathBuf,

    /// File name for a single URL
    #[arg(short = 'O', long, value_name = "NAME", conflicts_with = "input")]
    output_name: Option<String>,

    /// Name files as the server does: by Content-Disposition, or else by the URL after redirects
    #[arg(long, conflicts_with_all = ["output_name", "compare"])]
    remote_name: bool,

    /// What to do if a file already exists
    #[arg(long, value_name = "WHAT", default_value = "skip")]
    if_exists: IfExistsArg,

    /// Sync files to disk, so that finished files survive a power failure
    #[arg(long)]
    fsync: bool,

    /// Print what would be downloaded and where, without requesting any of it
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Concurrency")]
struct ConcurrencyArgs {
    /// Maximum number of threads, each of which fetches a file or a segment of one
    #[arg(short, long, value_name = "N", default_value = "64", value_parser = parse_at_least_one, allow_negative_numbers = true)]
    jobs: NonZeroU16,

    /// Maximum number of simultaneous requests to one host; tdl finds by itself how many are best
    #[arg(long, value_name = "N", default_value = "64", value_parser = parse_at_least_one, allow_negative_numbers = true)]
    per_host: NonZeroU16,

    /// Never use more than one connection per file
    #[arg(long)]
    no_split: bool,

    /// Download one file after another, in a single thread
    #[arg(long)]
    sequential: bool,

    /// Download everything twice, first sequentially and then concurrently, and report both times
    #[arg(long, conflicts_with_all = ["sequential", "if_exists", "dry_run", "keep_going"])]
    compare: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Retries and limits")]
struct RetryArgs {
    /// Give up on a file after N retries without progress
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = parse_count, allow_negative_numbers = true)]
    retries: u32,

    /// Start no new downloads after the first permanent failure
    #[arg(long)]
    fail_fast: bool,

    /// Maximum time to wait for a connection, such as 500ms, 10s or 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    connect_timeout: Duration,

    /// Maximum time to wait for the next byte of a response
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    stall_timeout: Duration,

    /// Maximum time for the whole run; unfinished downloads then fail temporarily
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    max_time: Option<Duration>,

    /// Maximum size of a file, such as 500k, 20M or 4GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_filesize: Option<u64>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Requests")]
struct RequestArgs {
    /// Header for each URL's own origin; '@FILE' reads headers from FILE; can be repeated
    #[arg(short = 'H', long, value_name = "'NAME: VALUE'")]
    header: Vec<String>,

    /// Accept any TLS certificate
    #[arg(long)]
    insecure: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Display")]
struct DisplayArgs {
    /// How to show progress
    #[arg(long, value_name = "HOW", default_value = "auto")]
    progress: ProgressArg,

    /// Write events as JSON Lines to standard output instead of the summary
    #[arg(long)]
    json: bool,

    /// Show failures only, and no summary
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,

    /// Also show each file, redirects, status codes and checks
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum IfExistsArg {
    /// Keep it without checking it; fail if tdl fetched it from another URL
    Skip,
    /// Replace it once the new file is complete
    Overwrite,
    /// Keep it and save the new file under the next free name
    Rename,
    /// Replace it only if the server says it has changed since; fail if tdl fetched it from another URL
    Update,
    /// Count the download as failed
    Fail,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProgressArg {
    /// Bars on a terminal, plain lines elsewhere
    Auto,
    /// Bars, if there is a terminal
    Bars,
    /// Lines, even on a terminal
    Plain,
    /// Failures only
    None,
}

/// A `tdl fetch` command line, resolved.
#[derive(Debug)]
pub struct FetchCommand {
    /// The URLs given as arguments, not yet parsed.
    pub urls: Vec<String>,
    pub lists: Vec<PathBuf>,
    pub list_settings: ListSettings,
    pub keep_going: bool,
    /// Checksum files for the files of the lists.
    pub sums: Vec<PathBuf>,
    pub layout: Layout,
    /// The name for the file of a single URL.
    pub output_name: Option<SafeName>,
    pub options: Options,
    pub display: DisplayOptions,
    pub compare: bool,
    pub dry_run: bool,
}

/// Refuses `-o NAME.ext` for a URL that ends in the same extension: in curl, that names the file. A directory that
/// exists, or is written with a slash at its end, is meant.
fn refuse_file_as_directory(directory: &Path, url: &str) -> anyhow::Result<()> {
    let is_marked = directory.as_os_str().as_encoded_bytes().last().is_some_and(|last| b"/\\".contains(last));
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let same = match (directory.extension(), Path::new(path).extension()) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        _ => false,
    };
    let name = safe_path(directory);
    ensure!(
        !same || is_marked || directory.is_dir(),
        "-o {name} is a directory; to name the file use -O {name}; to make the directory write {name}/"
    );
    Ok(())
}

impl FetchArgs {
    /// Resolves what was typed. `environment` looks up the variables that may name proxies.
    pub fn resolve(self, environment: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<FetchCommand> {
        let Self { urls, lists, files, concurrency, retry, request, display } = self;
        let output_name = files.output_name.as_deref().map(parse_name).transpose()?;
        let list_settings = lists.settings()?;
        let count = urls.len();
        if let ([url], [], None) = (&urls[..], &lists.input[..], &output_name) {
            refuse_file_as_directory(&files.output_dir, url)?;
        }
        ensure!(output_name.is_none() || count == 1, "-O names the file of a single URL, but there are {count}");
        let network = Network {
            connect_timeout: retry.connect_timeout,
            stall_timeout: retry.stall_timeout,
            headers: parse_headers(&request.header)?,
            insecure: request.insecure,
            proxies: proxies_from_environment(environment)?,
        };
        let limits = Limits {
            mode: if concurrency.sequential { Mode::Sequential } else { Mode::Concurrent },
            jobs: NonZeroUsize::from(concurrency.jobs),
            per_host: NonZeroUsize::from(concurrency.per_host),
            split: !concurrency.no_split,
            fail_fast: retry.fail_fast,
            max_time: retry.max_time,
            max_filesize: retry.max_filesize,
        };
        let retry = Retry { retries: retry.retries };
        let display = display.resolve(files.output_dir.clone(), concurrency.compare);
        let output = Output {
            directory: files.output_dir,
            if_exists: files.if_exists.into(),
            remote_name: files.remote_name,
            fsync: files.fsync,
        };
        Ok(FetchCommand {
            urls,
            lists: lists.input,
            list_settings,
            keep_going: lists.keep_going,
            sums: lists.sums,
            layout: lists.layout.into(),
            output_name,
            options: Options { network, retry, limits, output },
            display,
            compare: concurrency.compare,
            dry_run: files.dry_run,
        })
    }
}

impl DisplayArgs {
    fn resolve(&self, directory: PathBuf, compare: bool) -> DisplayOptions {
        let progress = match self.progress {
            ProgressArg::Auto => ProgressMode::Auto,
            ProgressArg::Bars => ProgressMode::Bars,
            ProgressArg::Plain => ProgressMode::Plain,
            ProgressArg::None => ProgressMode::None,
        };
        let verbosity = match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Failures,
            (_, true) => Verbosity::Everything,
            (false, false) => Verbosity::Normal,
        };
        DisplayOptions { progress, verbosity, json: self.json, directory, compare }
    }
}

impl From<IfExistsArg> for IfExists {
    fn from(arg: IfExistsArg) -> Self {
        match arg {
            IfExistsArg::Skip => Self::Skip,
            IfExistsArg::Overwrite => Self::Overwrite,
            IfExistsArg::Rename => Self::Rename,
            IfExistsArg::Update => Self::Update,
            IfExistsArg::Fail => Self::Fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_match_the_library() {
        let Command::Fetch(fetch) = Args::try_parse_from(["tdl", "fetch", "http://h/x"]).unwrap().command;
        let resolved = fetch.resolve(|_| None).unwrap().options;
        assert_eq!(format!("{resolved:?}"), format!("{:?}", Options::default()));
    }
}
