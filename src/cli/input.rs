//! Reads what is to be fetched from arguments and lists. `plan::list` parses the lists.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

use super::pieces::{BUFFER, read_pieces};
use super::remote_list::fetch_list;
use crate::options::Options;
use crate::plan::list::{ListParser, ListSettings, Parsed};
use crate::plan::{Entry, Layout};
use crate::report::Places;
use crate::text::{safe, safe_path};
use crate::url::{WebUrl, redacted};

/// How many errors are listed. The rest are only counted.
const MAX_LISTED: usize = 10;

/// How many entries are packed at a time.
const BATCH: usize = 1000;

/// What messages call the list that is read from standard input.
pub const STDIN: &str = "standard input";

/// The message where there are no URLs.
pub const NOTHING: &str = "nothing to download: pass URLs, or a list with -i FILE";

/// The lists of a command, and how to read them.
pub struct Lists<'a> {
    pub paths: &'a [PathBuf],
    pub settings: &'a ListSettings,
    pub layout: Layout,
    /// Whether standard input is read as well. Otherwise, it is left to be read, and comes last then.
    pub reads_stdin: bool,
    /// Whether bad lines do not keep the others from being fetched.
    pub keeps_going: bool,
    /// For lists that are fetched.
    pub options: &'a Options,
}

/// What is to be fetched.
#[derive(Default)]
pub struct Input {
    pub entries: Vec<Entry>,
    pub places: Places,
    /// The place of the line before the first of standard input, if that is a list that has not been read.
    pub stdin: Option<u32>,
    /// What the user should know about the lists.
    pub warnings: Vec<String>,
    /// What is wrong with lines, and their places; empty unless that does not keep the others from being fetched.
    pub invalid: Vec<(u32, String)>,
}

/// Returns all entries in the order given, starting with those from the arguments.
///
/// # Errors
///
/// Returns one error that lists every invalid argument and line; or why a list could not be read or fetched.
pub fn read_input(arguments: &[String], lists: &Lists<'_>) -> anyhow::Result<Input> {
    let (mut input, mut errors) = (Input::default(), Errors::default());
    for text in arguments {
        match WebUrl::parse(text.trim()) {
            Ok(url) => input.entries.push(Entry::from(url).with_layout(lists.layout)),
            Err(error) => errors.add(suggest_fix(text).unwrap_or_else(|| error.to_string())),
        }
    }
    let stdin_count = lists.paths.iter().filter(|path| is_stdin(path)).count();
    ensure!(stdin_count <= 1, "-i -: standard input can be read only once");
    for path in lists.paths.iter().filter(|path| lists.reads_stdin || !is_stdin(path)) {
        input.read_list(path, lists, &mut errors)?;
    }
    errors.refuse()?;
    input.stdin = (stdin_count > 0 && !lists.reads_stdin).then(|| input.places.add(STDIN));
    ensure!(!input.entries.is_empty() || !input.invalid.is_empty() || input.stdin.is_some(), NOTHING);
    Ok(input)
}

/// The URL that a list is fetched from, if it is not a file.
pub fn list_url(path: &Path) -> Option<WebUrl> {
    WebUrl::parse(path.to_str()?).ok()
}

/// Opens a list, and returns it with the name that messages give it.
///
/// # Errors
///
/// Why it cannot be opened or fetched.
pub fn open_list(path: &Path, options: &Options) -> anyhow::Result<(String, Box<dyn BufRead>)> {
    if is_stdin(path) {
        return Ok((STDIN.to_owned(), Box::new(io::stdin().lock())));
    }
    let (name, file) = match list_url(path) {
        Some(url) => (url.to_string(), fetch_list(&url, options)?),
        None => {
            let name = safe_path(path);
            ensure!(!path.is_dir(), "{}: this is a directory, not a list", safe(&redacted(&name)));
            let file = File::open(path).with_context(|| cannot_read(&name))?;
            (name, file)
        }
    };
    Ok((name, Box::new(BufReader::with_capacity(BUFFER, file))))
}

/// The start of a message about a list that cannot be read.
pub fn cannot_read(name: &str) -> String {
    format!("{}: cannot read the list", safe(&redacted(name)))
}

impl Input {
    fn read_list(&mut self, path: &Path, lists: &Lists<'_>, errors: &mut Errors) -> anyhow::Result<()> {
        let (name, list) = open_list(path, lists.options)?;
        let start = self.places.add(&name);
        let mut parser = ListParser::new(&name, lists.settings.clone()).with_start(start);
        let mut take = |parsed| match parsed {
            Parsed::Entry(entry) => self.push(entry.with_layout(lists.layout)),
            Parsed::Invalid(error, place) if lists.keeps_going => {
                self.invalid.push((place, error.message().to_owned()));
            }
            Parsed::Invalid(error, _) => errors.add(error.to_string()),
            Parsed::Warning(warning) => self.warnings.push(warning),
        };
        let read = read_pieces(list, |bytes| {
            parser.push(bytes, &mut take);
            true
        });
        parser.finish(&mut take);
        self.pack_from(self.entries.len().saturating_sub(1) / BATCH * BATCH);
        self.places.count_lines(parser.lines());
        read.with_context(|| cannot_read(&name))
    }

    fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
        if self.entries.len().is_multiple_of(BATCH) {
            self.pack_from(self.entries.len() - BATCH);
        }
    }

    /// Packs the entries from a position on: as text of their own, the URLs of a long list would take twice the memory.
    fn pack_from(&mut self, start: usize) {
        Entry::pack(&mut self.entries[start..]);
    }
}

/// What is wrong with the input.
#[derive(Default)]
pub struct Errors {
    listed: Vec<String>,
    count: usize,
}

impl Errors {
    pub fn add(&mut self, error: String) {
        self.count += 1;
        if self.listed.len() < MAX_LISTED {
            self.listed.push(error);
        }
    }

    /// # Errors
    ///
    /// One error with those that were added first and the number of the others, if there are any.
    pub fn refuse(&self) -> anyhow::Result<()> {
        let listed = self.listed.join("\n");
        match self.count - self.listed.len() {
            0 if listed.is_empty() => Ok(()),
            0 => bail!(listed),
            more => bail!("{listed}\n{more} more are invalid"),
        }
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Suggests `-i` if an argument looks like a list or standard input rather than a URL.
fn suggest_fix(text: &str) -> Option<String> {
    let has_list_extension = Path::new(text).extension().is_some_and(|extension| {
        ["txt", "lst", "list", "urls"].iter().any(|list| extension.eq_ignore_ascii_case(list))
    });
    let is_list = text == "-" || Path::new(text).is_file() || (has_list_extension && !text.contains("://"));
    is_list.then(|| format!("'{0}' is not an absolute URL; to read a list, use -i {0}", safe(text)))
}
