//! Reads what is to be fetched from arguments and lists. `plan::list` parses the lists.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use flate2::bufread::MultiGzDecoder;

use crate::plan::Entry;
use crate::plan::list::{Item, ListParser, ListSettings};
use crate::report::Places;
use crate::text::{safe, safe_path};
use crate::url::{WebUrl, redacted};

/// How many errors are listed. The rest are only counted.
const MAX_LISTED: usize = 10;

/// How many bytes of a list are read at once.
const BUFFER: usize = 64 * 1024;

/// How many entries are packed at a time.
const BATCH: usize = 1000;

/// What is to be fetched.
#[derive(Default)]
pub struct Input {
    pub entries: Vec<Entry>,
    pub places: Places,
    /// What the user should know about the lists.
    pub warnings: Vec<String>,
    /// What is wrong with arguments and lines.
    pub errors: Vec<String>,
}

/// Returns all entries in the order given, starting with those from the arguments.
///
/// # Errors
///
/// Returns one error that lists every invalid argument and line.
pub fn read_input(arguments: &[String], lists: &[PathBuf], settings: &ListSettings) -> anyhow::Result<Input> {
    let mut input = Input::default();
    for text in arguments {
        match WebUrl::parse(text.trim()) {
            Ok(url) => input.entries.push(url.into()),
            Err(error) => input.errors.push(suggest_fix(text).unwrap_or_else(|| error.to_string())),
        }
    }
    let stdin_count = lists.iter().filter(|path| is_stdin(path)).count();
    ensure!(stdin_count <= 1, "-i -: standard input can be read only once");
    for path in lists {
        input.read_list(path, settings)?;
    }
    input.refuse_errors()?;
    ensure!(!input.entries.is_empty(), "nothing to download: pass URLs, or a list with -i FILE");
    Ok(input)
}

impl Input {
    fn read_list(&mut self, path: &Path, settings: &ListSettings) -> anyhow::Result<()> {
        let name = if is_stdin(path) { "standard input".to_owned() } else { safe_path(path) };
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

    fn take(&mut self, item: Item) {
        match item {
            Item::Entry(entry) => {
                self.entries.push(entry);
                if self.entries.len().is_multiple_of(BATCH) {
                    self.pack_from(self.entries.len() - BATCH);
                }
            }
            Item::Invalid(error, _) => self.errors.push(error.to_string()),
            Item::Warning(warning) => self.warnings.push(warning),
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
fn parse(mut list: impl BufRead, parser: &mut ListParser, take: &mut dyn FnMut(Item)) -> io::Result<()> {
    if is_compressed(&mut list)? {
        return parse_bytes(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(list)), parser, take);
    }
    parse_bytes(list, parser, take)
}

fn parse_bytes(mut list: impl BufRead, parser: &mut ListParser, take: &mut dyn FnMut(Item)) -> io::Result<()> {
    loop {
        let bytes = match list.fill_buf() {
            Ok([]) => break,
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        parser.push(bytes, take);
        let length = bytes.len();
        list.consume(length);
    }
    parser.finish(take);
    Ok(())
}

/// Whether a list is compressed with gzip (RFC 1952), by its first byte: no text begins with a control character.
fn is_compressed(list: &mut impl BufRead) -> io::Result<bool> {
    const FIRST_BYTE: u8 = 0x1f;
    loop {
        match list.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            bytes => return Ok(bytes?.first() == Some(&FIRST_BYTE)),
        }
    }
}

/// Suggests `-i` if an argument looks like a list or standard input rather than a URL.
fn suggest_fix(text: &str) -> Option<String> {
    let has_list_extension = Path::new(text).extension().is_some_and(|extension| {
        ["txt", "lst", "list", "urls"].iter().any(|list| extension.eq_ignore_ascii_case(list))
    });
    let is_list = text == "-" || Path::new(text).is_file() || (has_list_extension && !text.contains("://"));
    is_list.then(|| format!("'{0}' is not an absolute URL; to read a list, use -i {0}", safe(text)))
}
