//! Reads what is to be fetched from arguments and lists. `plan::list` parses the lists.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};

use super::lines::parse_next_line;
use crate::plan::Entry;
use crate::plan::list::{ListError, PlainParser};
use crate::report::Places;
use crate::text::{safe, safe_path};
use crate::url::{WebUrl, redacted};

/// How many errors are listed. The rest are only counted.
const MAX_LISTED: usize = 10;

/// The message where there are no URLs.
pub const NOTHING: &str = "nothing to download: pass URLs, or a list with -i FILE";

/// How many bytes of a list are read at once.
const BUFFER: usize = 64 * 1024;

/// What is to be fetched.
pub struct Input {
    pub entries: Vec<Entry>,
    pub places: Places,
    /// The place of the line before the first of standard input, if that is a list that has not been read.
    pub stdin: Option<u32>,
}

/// What messages call the list that is read from standard input.
pub const STDIN: &str = "standard input";

/// Returns all entries in the order given, starting with those from the arguments. Unless `reads_stdin`, standard input
/// is left to be read: it comes last then.
///
/// # Errors
///
/// Returns one error that lists every invalid argument and line.
pub fn read_input(arguments: &[String], lists: &[PathBuf], reads_stdin: bool) -> anyhow::Result<Input> {
    let mut entries = Vec::with_capacity(arguments.len());
    let mut places = Places::default();
    let mut errors = Vec::new();
    for text in arguments {
        match WebUrl::parse(text.trim()) {
            Ok(url) => entries.push(url.into()),
            Err(error) => errors.push(suggest_fix(text).unwrap_or_else(|| error.to_string())),
        }
    }
    let stdin_count = lists.iter().filter(|path| is_stdin(path)).count();
    ensure!(stdin_count <= 1, "-i -: standard input can be read only once");
    for path in lists.iter().filter(|path| reads_stdin || !is_stdin(path)) {
        let name = if is_stdin(path) { STDIN.to_owned() } else { safe_path(path) };
        let start = places.add(&name);
        let (listed, lines) = read_list(path, &name, start)?;
        places.count_lines(lines);
        match listed {
            Ok(listed) if entries.is_empty() => entries = listed,
            Ok(listed) => entries.extend(listed),
            Err(invalid) => errors.extend(invalid.iter().map(ToString::to_string)),
        }
    }
    if !errors.is_empty() {
        let listed = errors[..errors.len().min(MAX_LISTED)].join("\n");
        match errors.len().saturating_sub(MAX_LISTED) {
            0 => bail!(listed),
            more => bail!("{listed}\n{more} more are invalid"),
        }
    }
    let stdin = (stdin_count > 0 && !reads_stdin).then(|| places.add(STDIN));
    ensure!(!entries.is_empty() || stdin.is_some(), NOTHING);
    Ok(Input { entries, places, stdin })
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The entries of a list, or what is wrong with it, and how many lines it has.
type Listed = (Result<Vec<Entry>, Vec<ListError>>, u32);

fn read_list(path: &Path, name: &str, start: u32) -> anyhow::Result<Listed> {
    let list = if is_stdin(path) {
        read_lines(io::stdin().lock(), name, start)
    } else {
        File::open(path).and_then(|file| read_lines(BufReader::with_capacity(BUFFER, file), name, start))
    };
    match list {
        Ok(list) => Ok(list),
        Err(_) if WebUrl::parse(name).is_ok() => {
            bail!("{} is a URL, not a list: pass it without -i", safe(&redacted(name)))
        }
        Err(_) if path.is_dir() => bail!("{}: this is a directory, not a list", safe(&redacted(name))),
        Err(error) => bail!("{}: cannot read the list: {error}", safe(&redacted(name))),
    }
}

/// Parses a list while it is read: as text beside its URLs, a long list would take twice the memory.
fn read_lines(mut list: impl BufRead, name: &str, start: u32) -> io::Result<Listed> {
    let (mut parser, mut line) = (PlainParser::new(name).with_start(start), Vec::new());
    while parse_next_line(&mut list, &mut parser, &mut line)? {}
    let lines = parser.lines();
    Ok((parser.finish(), lines))
}

/// Suggests `-i` if an argument looks like a list or standard input rather than a URL.
fn suggest_fix(text: &str) -> Option<String> {
    let has_list_extension = Path::new(text).extension().is_some_and(|extension| {
        ["txt", "lst", "list", "urls"].iter().any(|list| extension.eq_ignore_ascii_case(list))
    });
    let is_list = text == "-" || Path::new(text).is_file() || (has_list_extension && !text.contains("://"));
    is_list.then(|| format!("'{0}' is not an absolute URL; to read a list, use -i {0}", safe(text)))
}
