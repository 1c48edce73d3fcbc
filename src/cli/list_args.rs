//! The options that say which lists are read and how.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::ValueEnum;

use crate::plan::Layout;
use crate::plan::list::{Columns, Format, ListSettings};
use crate::url::WebUrl;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Lists")]
pub struct ListArgs {
    /// Read a list from FILE or from its URL; '-' is standard input; can be repeated
    #[arg(short, long, value_name = "FILE")]
    pub input: Vec<PathBuf>,

    /// Format of the lists; without this, their content tells it
    #[arg(long, value_name = "FORMAT")]
    pub input_format: Option<FormatArg>,

    /// Resolve relative URLs of the lists against URL, which should end in a slash
    #[arg(long, value_name = "URL")]
    pub base: Option<String>,

    /// Read the lists as tables, with these columns: url=NAME,md5=NAME… or url=2,out=1…
    #[arg(long, value_name = "FIELD=COLUMN,…")]
    pub column: Vec<String>,

    /// Fetch the rest of a list although some of its lines are invalid
    #[arg(long)]
    pub keep_going: bool,

    /// Check downloaded files against the checksum file FILE, or its URL; can be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "remote_name")]
    pub sums: Vec<PathBuf>,

    /// Which directories to put files in whose list names none
    #[arg(long, value_name = "LAYOUT", default_value = "flat")]
    pub layout: LayoutArg,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LayoutArg {
    /// All in the output directory
    Flat,
    /// In the directories of their URLs
    Path,
    /// The same, below a directory with the name of the host
    Host,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FormatArg {
    /// One entry per line: URLs, URLs and names, aria2's input files, checksum files
    #[value(aliases = ["text", "plain", "aria2", "checksums"])]
    Lines,
    /// JSON Lines, or a JSON array
    #[value(alias = "jsonl")]
    Json,
    /// Comma-separated values
    Csv,
    /// Tab-separated values
    Tsv,
    /// Metalink 4
    #[value(alias = "meta4")]
    Metalink,
}

impl ListArgs {
    pub fn settings(&self) -> anyhow::Result<ListSettings> {
        let columns = self.column.iter().map(String::as_str);
        let columns = (!self.column.is_empty()).then(|| Columns::parse(columns)).transpose();
        let format = self.input_format.map(Format::from);
        let is_table = matches!(format, None | Some(Format::Csv | Format::Tsv));
        ensure!(self.column.is_empty() || is_table, "--column is for tables: give --input-format csv or tsv");
        let columns = columns.context("--column")?;
        let base = self.base.as_deref().map(WebUrl::parse).transpose().context("--base")?;
        Ok(ListSettings { format, base, columns })
    }
}

impl From<LayoutArg> for Layout {
    fn from(arg: LayoutArg) -> Self {
        match arg {
            LayoutArg::Flat => Self::Flat,
            LayoutArg::Path => Self::Path,
            LayoutArg::Host => Self::Host,
        }
    }
}

impl From<FormatArg> for Format {
    fn from(arg: FormatArg) -> Self {
        match arg {
            FormatArg::Lines => Self::Lines,
            FormatArg::Json => Self::Json,
            FormatArg::Csv => Self::Csv,
            FormatArg::Tsv => Self::Tsv,
            FormatArg::Metalink => Self::Metalink,
        }
    }
}
