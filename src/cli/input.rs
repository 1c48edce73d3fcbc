//! Reads what is to be fetched from arguments and lists. `plan::list` parses the lists.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

use super::remote_list::fetch_list;
use crate::options::Options;
use crate::plan::Entry;
use crate::plan::list::{ListError, PlainParser};
use crate::report::Places;
use crate::text::{safe, safe_path};
use crate::url::{WebUrl, redacted};

/// How many errors are listed. The rest are only counted.
const MAX_LISTED: usize = 10;

/// No line of a list is so long. What has no lines would not fit in memory.
const MAX_LINE: u64 = 1024 * 1024;

/// How many bytes of a list are read at once.
const BUFFER: usize = 64 * 1024;

/// What is to be fetched.
pub struct Input {
    pub entries: Vec<Entry>,
    pub places: Places,
}

/// Returns all entries in the order given, starting with those from the arguments.
///
/// # Errors
///
/// Returns one error that lists every invalid argument and line; or why a list could not be read or fetched.
pub fn read_input(arguments: &[String], lists: &[PathBuf], options: &Options) -> anyhow::Result<Input> {
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
    for path in lists {
        let url = list_url(path);
        let name = match &url {
            Some(url) => url.to_string(),
            None if is_stdin(path) => "standard input".to_owned(),
            None => safe_path(path),
        };
        let start = places.add(&name);
        let (listed, lines) = match url {
            Some(url) => read_file(fetch_list(&url, options)?, &name, start).with_context(|| cannot_read(&name))?,
            None => read_list(path, &name, start)?,
        };
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
    ensure!(!entries.is_empty(), "nothing to download: pass URLs, or a list with -i FILE");
    Ok(Input { entries, places })
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The URL of a list that is to be fetched.
pub fn list_url(path: &Path) -> Option<WebUrl> {
    WebUrl::parse(path.to_str()?).ok()
}

fn cannot_read(name: &str) -> String {
    format!("{}: cannot read the list", safe(&redacted(name)))
}

/// The entries of a list, or what is wrong with it, and how many lines it has.
type Listed = (Result<Vec<Entry>, Vec<ListError>>, u32);

fn read_list(path: &Path, name: &str, start: u32) -> anyhow::Result<Listed> {
    let list = if is_stdin(path) {
        read_lines(io::stdin().lock(), name, start)
    } else {
        File::open(path).and_then(|file| read_file(file, name, start))
    };
    match list {
        Ok(list) => Ok(list),
        Err(_) if path.is_dir() => bail!("{}: this is a directory, not a list", safe(&redacted(name))),
        Err(error) => Err(error).with_context(|| cannot_read(name)),
    }
}

fn read_file(file: File, name: &str, start: u32) -> io::Result<Listed> {
    read_lines(BufReader::with_capacity(BUFFER, file), name, start)
}

/// Parses a list while it is read: as text beside its URLs, a long list would take twice the memory.
fn read_lines(mut list: impl BufRead, name: &str, start: u32) -> io::Result<Listed> {
    let (mut parser, mut line) = (PlainParser::new(name).with_start(start), Vec::new());
    while list.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? > 0 {
        if line.len() as u64 == MAX_LINE {
            let number = parser.lines() + 1;
            return Err(io::Error::other(format!("line {number} has no end: is this a list of URLs?")));
        }
        parser.push_line(&line);
        line.clear();
    }
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
