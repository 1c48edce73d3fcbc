//! The command line as it is typed, and what it means: resolved once, never changed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use crate::http::proxies_from_environment;
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

    #[command(flatten)]
    files: Files,

    #[command(flatten)]
    amount: Amount,

    #[command(flatten)]
    trouble: Trouble,

    #[command(flatten)]
    asking: Asking,

    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What and where")]
struct Files {
    /// Read URLs from FILE, one a line; '-' is standard input; may be repeated
    #[arg(short, long, value_name = "FILE")]
    input: Vec<PathBuf>,

    /// Directory for the files, made if missing (for a file's name there is -O)
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output_dir: PathBuf,

    /// Name for the file of a single URL
    #[arg(short = 'O', long, value_name = "NAME", conflicts_with = "input")]
    output_name: Option<String>,

    /// What to do where a file exists
    #[arg(long, value_name = "WHAT", default_value = "skip")]
    if_exists: IfExistsArg,

    /// Count files as fetched only when they are on the disk, come a power cut
    #[arg(long)]
    fsync: bool,

    /// Print what would be downloaded to where, and ask for nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How much at once")]
struct Amount {
    /// Threads at once, each with a download or a part of one
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,

    /// Requests at once to one host
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    per_host: u16,

    /// Never use several connections for one file
    #[arg(long)]
    no_split: bool,

    /// One after another, without threads
    #[arg(long)]
    sequential: bool,

    /// Download everything twice, one after another and then side by side, and report both times
    #[arg(long, conflicts_with_all = ["sequential", "if_exists", "dry_run"])]
    compare: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "When it goes wrong")]
struct Trouble {
    /// Retries in a row of a download that gains no byte by them
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: u32,

    /// Start nothing new after the first failure for good
    #[arg(long)]
    fail_fast: bool,

    /// Longest wait for a connection, such as 500ms, 10s or 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    connect_timeout: Duration,

    /// Longest wait without a byte
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    stall_timeout: Duration,

    /// Longest time for the whole run; what is unfinished then fails for now
    #[arg(long, value_name = "TIME", value_parser = duration)]
    max_time: Option<Duration>,

    /// Longest file, such as 500k, 20M or 4GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_filesize: Option<u64>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How to ask")]
struct Asking {
    /// Header for each URL's own origin; repeated; '@FILE' reads them from FILE
    #[arg(short = 'H', long, value_name = "'NAME: VALUE'")]
    header: Vec<String>,

    /// Take any certificate
    #[arg(long)]
    insecure: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is shown")]
struct Shown {
    /// How progress is shown
    #[arg(long, value_name = "HOW", default_value = "auto")]
    progress: ProgressArg,

    /// Write events as JSON Lines to standard output, in place of the summary
    #[arg(long)]
    json: bool,

    /// Show failures only, and no summary
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,

    /// Show redirects, statuses and checks as well
    #[arg(short, long, action = ArgAction::Count)]
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
    /// What was typed, as what it means, in an environment that may name proxies.
    pub fn resolve(self, environment: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Fetch> {
        let Self { urls, files, amount, trouble, asking, shown } = self;
        let name = files.output_name.as_deref().map(chosen_name).transpose()?;
        ensure!(name.is_none() || urls.len() == 1, "-O names the file of a single URL, and there are {}", urls.len());
        let network = Network {
            connect_timeout: trouble.connect_timeout,
            stall_timeout: trouble.stall_timeout,
            headers: headers(&asking.header)?,
            insecure: asking.insecure,
            proxies: proxies_from_environment(environment)?,
        };
        let retry = Retry { retries: trouble.retries };
        let limits = Limits {
            mode: if amount.sequential { Mode::Sequential } else { Mode::Concurrent },
            jobs: usize::from(amount.jobs),
            per_host: usize::from(amount.per_host),
            split: !amount.no_split,
            fail_fast: trouble.fail_fast,
            max_time: trouble.max_time,
            max_filesize: trouble.max_filesize,
        };
        let wishes = shown.wishes(files.output_dir.clone(), amount.compare);
        let output = Output { directory: files.output_dir, if_exists: files.if_exists.meaning(), fsync: files.fsync };
        Ok(Fetch {
            urls,
            lists: files.input,
            name,
            options: Options { network, retry, limits, output },
            wishes,
            compare: amount.compare,
            dry_run: files.dry_run,
        })
    }
}

impl Shown {
    fn wishes(&self, directory: PathBuf, compares: bool) -> Wishes {
        let style = match self.progress {
            ProgressArg::Auto => Style::Auto,
            ProgressArg::Bars => Style::Bars,
            ProgressArg::Plain => Style::Plain,
            ProgressArg::None => Style::None,
        };
        let detail = match (self.quiet, self.verbose) {
            (true, _) => Detail::Failures,
            (_, 1..) => Detail::Everything,
            (false, 0) => Detail::Normal,
        };
        Wishes { style, detail, json: self.json, directory, compares }
    }
}

impl IfExistsArg {
    const fn meaning(self) -> IfExists {
        match self {
            Self::Skip => IfExists::Skip,
            Self::Overwrite => IfExists::Overwrite,
            Self::Rename => IfExists::Rename,
            Self::Update => IfExists::Update,
            Self::Fail => IfExists::Fail,
        }
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
    // What is longer than a century is for ever, and can be added to a time.
    Ok(duration.min(Duration::from_secs(u32::MAX.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_librarys() {
        let Command::Fetch(fetch) = Args::try_parse_from(["tdl", "fetch", "http://h/x"]).unwrap().command;
        let resolved = fetch.resolve(|_| None).unwrap().options;
        assert_eq!(format!("{resolved:?}"), format!("{:?}", Options::default()));
    }

    #[test]
    fn sizes_and_times_are_read_as_they_are_written() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("500", Some(500)),
            ("500k", Some(500_000)),
            ("20M", Some(20_000_000)),
            ("4GiB", Some(4 << 30)),
            ("4 KiB", Some(4096)),
            ("1.5M", None),
            ("M", None),
            ("", None),
            ("99999999999G", None),
        ] {
            assert_eq!(size(text).ok(), bytes, "{text}");
        }
        for (text, milliseconds) in [
            ("500ms", Some(500)),
            ("2", Some(2000)),
            ("1.5", Some(1500)),
            ("5m", Some(300_000)),
            ("0s", None),
            ("x", None),
        ] {
            assert_eq!(duration(text).ok(), milliseconds.map(Duration::from_millis), "{text}");
        }
    }
}
