//! Reads what is to be fetched from arguments and lists. `plan::list` parses the lists.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};

use super::pieces::{BUFFER, read_pieces};
use crate::plan::Entry;
use crate::plan::list::{ListParser, ListSettings, Parsed};
use crate::report::Places;
use crate::text::{safe, safe_path};
use crate::url::{WebUrl, redacted};

/// How many errors are listed. The rest are only counted.
const MAX_LISTED: usize = 10;

/// How many entries are packed at a time.
const BATCH: usize = 1000;

/// What is to be fetched.
#[derive(Default)]
pub struct Input {
    pub entries: Vec<Entry>,
    pub places: Places,
    /// The place of the line before the first of standard input, if that is a list that has not been read.
    pub stdin: Option<u32>,
    /// What the user should know about the lists.
    pub warnings: Vec<String>,
    /// What is wrong with arguments and lines.
    pub errors: Vec<String>,
}

/// The lists of a command, and how to read them.
pub struct Lists<'a> {
    pub paths: &'a [PathBuf],
    pub settings: &'a ListSettings,
    /// Whether standard input is read as well. Otherwise, it is left to be read, and comes last then.
    pub reads_stdin: bool,
}

/// What messages call the list that is read from standard input.
pub const STDIN: &str = "standard input";

/// The message where there are no URLs.
pub const NOTHING: &str = "nothing to download: pass URLs, or a list with -i FILE";

/// Returns all entries in the order given, starting with those from the arguments.
///
/// # Errors
///
/// Returns one error that lists every invalid argument and line.
pub fn read_input(arguments: &[String], lists: &Lists<'_>) -> anyhow::Result<Input> {
    let Lists { paths, settings, reads_stdin } = *lists;
    let mut input = Input::default();
    for text in arguments {
        match WebUrl::parse(text.trim()) {
            Ok(url) => input.entries.push(url.into()),
            Err(error) => input.errors.push(suggest_fix(text).unwrap_or_else(|| error.to_string())),
        }
    }
    let stdin_count = paths.iter().filter(|path| is_stdin(path)).count();
    ensure!(stdin_count <= 1, "-i -: standard input can be read only once");
    for path in paths.iter().filter(|path| reads_stdin || !is_stdin(path)) {
        input.read_list(path, settings)?;
    }
    input.refuse_errors()?;
    input.stdin = (stdin_count > 0 && !reads_stdin).then(|| input.places.add(STDIN));
    ensure!(!input.entries.is_empty() || input.stdin.is_some(), NOTHING);
    Ok(input)
}

impl Input {
    fn read_list(&mut self, path: &Path, settings: &ListSettings) -> anyhow::Result<()> {
        let name = if is_stdin(path) { STDIN.to_owned() } else { safe_path(path) };
        let start = self.places.add(&name);
        let mut parser = ListParser::new(&name, settings.clone()).with_start(start);
        let mut take = |item| self.take(item);
        let read = if is_stdin(path) {
            parse(io::stdin().lock(), &mut parser, &mut take)
        } else {
            File::open(path).and_then(|file| parse(BufReader::with_capacity(BUFFER, file), &mut parser, &mut take))
        };
        self.pack_from(self.entries.len().saturating_sub(1) / BATCH * BATCH);
        self.places.count_lines(parser.lines());
        match read {
            Ok(()) => Ok(()),
            Err(_) if WebUrl::parse(&name).is_ok() => {
                bail!("{} is a URL, not a list: pass it without -i", safe(&redacted(&name)))
            }
            Err(_) if path.is_dir() => bail!("{}: this is a directory, not a list", safe(&redacted(&name))),
            Err(error) => bail!("{}: cannot read the list: {error}", safe(&redacted(&name))),
        }
    }

    fn take(&mut self, item: Parsed) {
        match item {
            Parsed::Entry(entry) => {
                self.entries.push(entry);
                if self.entries.len().is_multiple_of(BATCH) {
                    self.pack_from(self.entries.len() - BATCH);
                }
            }
            Parsed::Invalid(error, _) => self.errors.push(error.to_string()),
            Parsed::Warning(warning) => self.warnings.push(warning),
        }
    }

    /// Packs the entries from a position on: as text of their own, the URLs of a long list would take twice the memory.
    fn pack_from(&mut self, start: usize) {
        Entry::pack(&mut self.entries[start..]);
    }

    fn refuse_errors(&self) -> anyhow::Result<()> {
        let listed = self.errors[..self.errors.len().min(MAX_LISTED)].join("\n");
        match self.errors.len().saturating_sub(MAX_LISTED) {
            0 if listed.is_empty() => Ok(()),
            0 => bail!(listed),
            more => bail!("{listed}\n{more} more are invalid"),
        }
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Parses a list while it is read.
fn parse(list: impl BufRead, parser: &mut ListParser, take: &mut dyn FnMut(Parsed)) -> io::Result<()> {
    read_pieces(list, |bytes| {
        parser.push(bytes, take);
        true
    })?;
    parser.finish(take);
    Ok(())
}

/// Suggests `-i` if an argument looks like a list or standard input rather than a URL.
fn suggest_fix(text: &str) -> Option<String> {
    let has_list_extension = Path::new(text).extension().is_some_and(|extension| {
        ["txt", "lst", "list", "urls"].iter().any(|list| extension.eq_ignore_ascii_case(list))
    });
    let is_list = text == "-" || Path::new(text).is_file() || (has_list_extension && !text.contains("://"));
    is_list.then(|| format!("'{0}' is not an absolute URL; to read a list, use -i {0}", safe(text)))
}
