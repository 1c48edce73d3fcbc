//! The command line as it is typed, and what it means: resolved once, never changed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use crate::options::{Header, IfExists, Limits, Mode, Network, Options, Output, Retry};
use crate::plan::SafeName;
use crate::report::{Detail, Style, Wishes};

/// Download a list of files at once, and know that each came whole.
#[derive(Debug, Parser)]
#[command(
    name = "tdl",
    bin_name = "tdl",
    version,
    disable_help_subcommand = true,
    args_override_self = true,
    arg_required_else_help = true
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Download URLs, from arguments and lists, side by side
    Fetch(FetchArgs),
}

const EXAMPLES: &str = "\
Examples:
  tdl fetch https://example.org/a.iso https://example.org/b.iso -o downloads
  tdl fetch -i urls.txt -o downloads
  grep -o 'https://[^\"]*' page.html | tdl fetch -i -
  tdl fetch -i urls.txt -o downloads --compare

Exit codes: 0 all fetched or there already, 1 some failed for good, 2 wrong command line or list,
75 some failed for now (run it again), 130, 143 or 129 interrupted";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct FetchArgs {
    /// What to download: absolute http or https URLs
    #[arg(value_name = "URL")]
    urls: Vec<String>,

    /// Read URLs from FILE, one a line; '-' is standard input; may be repeated
    #[arg(short, long, value_name = "FILE", help_heading = "What and where")]
    input: Vec<PathBuf>,

    /// Directory for the files, made if missing (for a file's name there is -O)
    #[arg(short, long, value_name = "DIR", default_value = ".", help_heading = "What and where")]
    output_dir: PathBuf,

    /// Name for the file of a single URL
    #[arg(short = 'O', long, value_name = "NAME", conflicts_with = "input", help_heading = "What and where")]
    output_name: Option<String>,

    /// What to do where a file exists
    #[arg(long, value_name = "WHAT", default_value = "skip", help_heading = "What and where")]
    if_exists: IfExistsArg,

    /// Count files as fetched only when they are on the disk, come a power cut
    #[arg(long, help_heading = "What and where")]
    fsync: bool,

    /// Print what would be downloaded to where, and ask for nothing
    #[arg(long, help_heading = "What and where")]
    dry_run: bool,

    /// Downloads at once
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..), help_heading = "How much at once")]
    jobs: u16,

    /// Requests at once to one host
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..), help_heading = "How much at once")]
    per_host: u16,

    /// One after another, without threads
    #[arg(long, help_heading = "How much at once")]
    sequential: bool,

    /// Download everything twice, one after another and then side by side, and report both times
    #[arg(long, conflicts_with_all = ["sequential", "if_exists", "dry_run"], help_heading = "How much at once")]
    compare: bool,

    /// Retries of a download after failures that may pass
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "When it goes wrong")]
    retries: u32,

    /// Start nothing new after the first failure for good
    #[arg(long, help_heading = "When it goes wrong")]
    fail_fast: bool,

    /// Longest wait for a connection, such as 500ms, 10s or 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, help_heading = "When it goes wrong")]
    connect_timeout: Duration,

    /// Longest wait without a byte
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, help_heading = "When it goes wrong")]
    stall_timeout: Duration,

    /// Longest time for the whole run; what is unfinished then fails for now
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "When it goes wrong")]
    max_time: Option<Duration>,

    /// Longest file, such as 500k, 20M or 4GiB
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "When it goes wrong")]
    max_filesize: Option<u64>,

    /// Header for each URL's own origin; repeated; '@FILE' reads them from FILE
    #[arg(short = 'H', long, value_name = "'NAME: VALUE'", help_heading = "How to ask")]
    header: Vec<String>,

    /// Take any certificate
    #[arg(long, help_heading = "How to ask")]
    insecure: bool,

    /// How progress is shown
    #[arg(long, value_name = "HOW", default_value = "auto", help_heading = "What is shown")]
    progress: ProgressArg,

    /// Write events as JSON Lines to standard output, in place of the summary
    #[arg(long, help_heading = "What is shown")]
    json: bool,

    /// Show failures only, and no summary
    #[arg(short, long, action = ArgAction::SetTrue, conflicts_with = "verbose", help_heading = "What is shown")]
    quiet: bool,

    /// Show redirects, statuses and checks as well
    #[arg(short, long, action = ArgAction::Count, help_heading = "What is shown")]
    verbose: u8,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum IfExistsArg {
    /// Leave it alone, unchecked
    Skip,
    /// Replace it once the new file is whole
    Overwrite,
    /// Keep it, and give the new file the next free name
    Rename,
    /// Ask whether it has changed since its own time, and replace it only then
    Update,
    /// Count it as failed
    Fail,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProgressArg {
    /// Bars on a terminal, plain lines elsewhere
    Auto,
    /// Bars, where there is a terminal
    Bars,
    /// A line when a download starts and ends
    Plain,
    /// Failures only
    None,
}

/// What `tdl fetch` was asked to do.
#[derive(Debug)]
pub struct Fetch {
    pub urls: Vec<String>,
    pub lists: Vec<PathBuf>,
    /// The name for a single URL.
    pub name: Option<SafeName>,
    pub options: Options,
    pub wishes: Wishes,
    pub compare: bool,
    pub dry_run: bool,
}

impl FetchArgs {
    /// What was typed, as what it means.
    pub fn resolve(self) -> anyhow::Result<Fetch> {
        let name = self.output_name.as_deref().map(chosen_name).transpose()?;
        ensure!(
            name.is_none() || self.urls.len() == 1,
            "-O names the file of a single URL, and there are {}",
            self.urls.len()
        );
        let network = Network {
            connect_timeout: self.connect_timeout,
            stall_timeout: self.stall_timeout,
            headers: headers(&self.header)?,
            insecure: self.insecure,
        };
        let limits = Limits {
            mode: if self.sequential { Mode::Sequential } else { Mode::Concurrent },
            jobs: usize::from(self.jobs),
            per_host: usize::from(self.per_host),
            fail_fast: self.fail_fast,
            max_time: self.max_time,
            max_filesize: self.max_filesize,
        };
        let if_exists = match self.if_exists {
            IfExistsArg::Skip => IfExists::Skip,
            IfExistsArg::Overwrite => IfExists::Overwrite,
            IfExistsArg::Rename => IfExists::Rename,
            IfExistsArg::Update => IfExists::Update,
            IfExistsArg::Fail => IfExists::Fail,
        };
        let wishes = Wishes {
            style: match self.progress {
                ProgressArg::Auto => Style::Auto,
                ProgressArg::Bars => Style::Bars,
                ProgressArg::Plain => Style::Plain,
                ProgressArg::None => Style::None,
            },
            detail: match (self.quiet, self.verbose) {
                (true, _) => Detail::Failures,
                (_, 1..) => Detail::Everything,
                (false, 0) => Detail::Normal,
            },
            json: self.json,
            directory: self.output_dir.clone(),
            compares: self.compare,
        };
        let retry = Retry { retries: self.retries };
        let output = Output { directory: self.output_dir, if_exists, fsync: self.fsync };
        Ok(Fetch {
            urls: self.urls,
            lists: self.input,
            name,
            options: Options { network, retry, limits, output },
            wishes,
            compare: self.compare,
            dry_run: self.dry_run,
        })
    }
}

fn chosen_name(name: &str) -> anyhow::Result<SafeName> {
    match SafeName::chosen(name) {
        Some(name) => Ok(name),
        None if name.contains(['/', '\\']) => {
            bail!("-O {name:?}: a name has no directory in it; that is for -o DIR")
        }
        None => bail!("-O {name:?}: not a name that every system can store"),
    }
}

fn headers(given: &[String]) -> anyhow::Result<Vec<Header>> {
    let mut headers = Vec::new();
    for header in given {
        match header.strip_prefix('@') {
            None => headers.push(Header::parse(header).with_context(|| format!("-H {:?}", name_only(header)))?),
            Some(file) => {
                let text = std::fs::read_to_string(file).with_context(|| format!("{file}: cannot read the headers"))?;
                for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                    headers.push(Header::parse(line).with_context(|| format!("{file}:{}", index + 1))?);
                }
            }
        }
    }
    Ok(headers)
}

/// A header as it may be shown: its value may be a secret.
fn name_only(header: &str) -> &str {
    header.split_once(':').map_or("...", |(name, _)| name)
}

/// A size such as `500k`, `20M` or `4GiB`: powers of 1000, or with `i` of 1024; a bare number is bytes.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().trim_end_matches(['B', 'b']) {
        "" => 1,
        "k" | "K" => 1000,
        "M" | "m" => 1000_u64.pow(2),
        "G" | "g" => 1000_u64.pow(3),
        "Ki" => 1024,
        "Mi" => 1024_u64.pow(2),
        "Gi" => 1024_u64.pow(3),
        _ => return Err("write it as 500k, 20M or 4GiB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write it as 500k, 20M or 4GiB".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "too large".to_owned())
}

/// A time such as `500ms`, `30s` or `5m`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let duration = match seconds {
        Some(duration) => duration,
        None => humantime::parse_duration(text).map_err(|_| "write it as 500ms, 30s or 5m".to_owned())?,
    };
    if duration.is_zero() {
        return Err("must be longer than nothing".to_owned());
    }
    Ok(duration)
}
