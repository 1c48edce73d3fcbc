//! [`ListParser`]: takes the bytes of a list as they come, and hands each line to the parser of its format.

use super::columns::Columns;
use super::detect::{Detected, Format, detect};
use super::error::{ListError, Problem};
use super::json::{JsonLinesParser, parse_array};
use super::lines::LinesParser;
use super::metalink::parse_metalink;
use super::sink::{Notes, Parsed, Sink};
use super::table::TableParser;
use crate::plan::entry::Entry;
use crate::url::WebUrl;

/// No line of a list is so long.
const MAX_LINE: usize = 1024 * 1024;

/// No list is so long of those that are read whole. What is compressed may be a thousand times as long as it seems.
const MAX_WHOLE: usize = 256 * 1024 * 1024;

/// So much of a line tells the format.
const MAX_START: usize = 4096;

/// How lists are read.
#[derive(Debug, Clone, Default)]
pub struct ListSettings {
    /// The format; `None` to tell it by the content.
    pub format: Option<Format>,
    /// What relative references are resolved against.
    pub base: Option<WebUrl>,
    /// The columns of tables. With them, a list whose format is not given is a table.
    pub columns: Option<Columns>,
}

/// Parses a list of any format while it comes.
#[derive(Debug)]
pub struct ListParser {
    name: String,
    settings: ListSettings,
    start: u32,
    lines: u32,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    state: State,
    /// Whether the line that is coming is too long, and is passed over.
    skips_line: bool,
    notes: Notes,
}

#[derive(Debug)]
enum State {
    /// Only blank lines have come.
    Undecided,
    Lines(LinesParser),
    JsonLines(JsonLinesParser),
    Table(Box<TableParser>),
    /// Formats that are read whole, so far.
    Array(Vec<u8>),
    Metalink(Vec<u8>),
    /// Nothing more can be read.
    Broken,
}

/// Parses a list that is in memory, and tells its format by its content. `name` identifies it in errors.
///
/// # Errors
///
/// Returns an error for each invalid entry, in order.
///
/// # Examples
///
/// ```
/// let entries = tdl::list::parse("urls.txt", b"https://example.org/x?id=3\tx.csv\n").unwrap();
/// assert_eq!(entries[0].sources()[0].url.unredacted(), "https://example.org/x?id=3");
/// assert!(tdl::list::parse("urls.txt", b"not a url").is_err());
/// ```
pub fn parse(name: &str, bytes: &[u8]) -> Result<Vec<Entry>, Vec<ListError>> {
    let (mut entries, mut errors) = (Vec::new(), Vec::new());
    let mut take = |item| match item {
        Parsed::Entry(entry) => entries.push(entry),
        Parsed::Invalid(error, _) => errors.push(error),
        Parsed::Warning(_) => {}
    };
    let mut parser = ListParser::new(name, ListSettings::default());
    parser.push(bytes, &mut take);
    parser.finish(&mut take);
    if errors.is_empty() { Ok(entries) } else { Err(errors) }
}

impl ListParser {
    /// Creates a parser. `name` identifies the list in errors.
    #[must_use]
    pub fn new(name: &str, settings: ListSettings) -> Self {
        let mut parser = Self {
            name: name.to_owned(),
            settings,
            start: 0,
            lines: 0,
            rest: Vec::new(),
            state: State::Undecided,
            skips_line: false,
            notes: Notes::default(),
        };
        parser.state = match parser.settings.format {
            None if parser.settings.columns.is_some() => parser.table(None),
            None | Some(Format::Json) => State::Undecided,
            Some(Format::Lines) => State::Lines(LinesParser::default()),
            Some(Format::Csv) => parser.table(Some(b',')),
            Some(Format::Tsv) => parser.table(Some(b'\t')),
            Some(Format::Metalink) => State::Metalink(Vec::new()),
        };
        parser
    }

    /// Counts the places of the entries from `start`: that of line *n* is `start` + *n*.
    #[must_use]
    pub const fn with_start(mut self, start: u32) -> Self {
        self.start = start;
        self
    }

    /// How many lines there were.
    #[must_use]
    pub const fn lines(&self) -> u32 {
        self.lines
    }

    /// Parses the next bytes of the list.
    pub fn push(&mut self, bytes: &[u8], take: &mut dyn FnMut(Parsed)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if let State::Array(text) | State::Metalink(text) = &mut self.state {
                text.extend_from_slice(piece);
                self.lines = self.lines.saturating_add(u32::from(piece.ends_with(b"\n")));
                if text.len() > MAX_WHOLE {
                    self.break_off(1, Problem::new("the list is too long to be read whole; use JSON Lines"), take);
                }
            } else if self.skips_line {
                self.skips_line = !piece.ends_with(b"\n");
            } else if !piece.ends_with(b"\n") || !self.rest.is_empty() {
                self.rest.extend_from_slice(piece);
                self.push_rest(take);
            } else {
                self.push_line(piece, take);
            }
        }
    }

    /// Hands over an entry although a later line could add to it. Call it when no more bytes come for a while.
    pub fn release(&mut self, take: &mut dyn FnMut(Parsed)) {
        if let State::Lines(parser) = &mut self.state {
            let Self { name, start, notes, .. } = self;
            parser.release(&mut Sink { list: name, start: *start, notes, take });
        }
    }

    /// Ends the list.
    pub fn finish(&mut self, take: &mut dyn FnMut(Parsed)) {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.push_line(&rest, take);
        }
        let Self { name, start, notes, settings, state, .. } = self;
        let sink = &mut Sink { list: name, start: *start, notes, take };
        let base = settings.base.as_ref();
        match std::mem::replace(state, State::Broken) {
            State::Lines(mut parser) => parser.finish(sink),
            State::JsonLines(mut parser) => parser.finish(sink),
            State::Table(mut parser) => parser.finish(base, sink),
            State::Array(text) => with_text(&text, sink, |text, sink| parse_array(text, base, sink)),
            State::Metalink(text) => with_text(&text, sink, |text, sink| parse_metalink(text, base, sink)),
            State::Undecided | State::Broken => {}
        }
        sink.end();
    }

    /// Parses the line in `rest` if it is complete, or if its end does not matter.
    fn push_rest(&mut self, take: &mut dyn FnMut(Parsed)) {
        let start = trimmed(&self.rest);
        let is_whole = match self.state {
            State::Undecided if start.starts_with(b"[") => true,
            State::Undecided if start.len() > MAX_START => detect(start) == Detected::Metalink,
            _ => false,
        };
        if is_whole || self.rest.ends_with(b"\n") {
            let line = std::mem::take(&mut self.rest);
            self.push_line(&line, take);
        } else if self.rest.len() > MAX_LINE {
            self.rest = Vec::new();
            self.skips_line = true;
            self.lines = self.lines.saturating_add(1);
            self.put(self.lines, Problem::new("the line is too long: is this a list?"), take);
        }
    }

    fn push_line(&mut self, line: &[u8], take: &mut dyn FnMut(Parsed)) {
        self.lines = self.lines.saturating_add(1);
        let line = if self.lines == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        if matches!(self.state, State::Undecided) {
            if trimmed(line).is_empty() {
                return;
            }
            self.decide(line, take);
        }
        let Self { name, start, notes, settings, state, lines, .. } = self;
        let sink = &mut Sink { list: name, start: *start, notes, take };
        let base = settings.base.as_ref();
        match state {
            State::Lines(parser) => {
                with_line(line, *lines, sink, |text, sink| parser.push_line(text, *lines, base, sink));
            }
            State::JsonLines(parser) => {
                with_line(line, *lines, sink, |text, sink| parser.push_line(text, *lines, base, sink));
            }
            State::Table(parser) => parser.push_line(line, *lines, base, sink),
            State::Array(text) | State::Metalink(text) => {
                // Blank lines before it count for the lines in its errors.
                text.resize(*lines as usize - 1, b'\n');
                text.extend_from_slice(line);
                *lines -= u32::from(!line.ends_with(b"\n"));
            }
            State::Undecided | State::Broken => {}
        }
    }

    /// Tells the format by the first line that is not blank.
    fn decide(&mut self, line: &[u8], take: &mut dyn FnMut(Parsed)) {
        let is_json = self.settings.format == Some(Format::Json);
        self.state = match detect(trimmed(line)) {
            Detected::JsonArray => State::Array(Vec::new()),
            Detected::JsonLines => State::JsonLines(JsonLinesParser::default()),
            _ if is_json => State::JsonLines(JsonLinesParser::default()),
            Detected::Lines => State::Lines(LinesParser::default()),
            Detected::Metalink => State::Metalink(Vec::new()),
            Detected::Refused(problem) => return self.break_off(self.lines, problem, take),
        };
    }

    /// Refuses the rest of the list.
    fn break_off(&mut self, line: u32, problem: Problem, take: &mut dyn FnMut(Parsed)) {
        self.put(line, problem, take);
        self.state = State::Broken;
    }

    /// Hands over what is wrong with a line, after what comes before it.
    fn put(&mut self, line: u32, problem: Problem, take: &mut dyn FnMut(Parsed)) {
        let Self { name, start, notes, state, .. } = self;
        let sink = &mut Sink { list: name, start: *start, notes, take };
        if let State::Lines(parser) = state {
            parser.finish(sink);
        }
        sink.put(line, Err(problem));
    }

    fn table(&self, delimiter: Option<u8>) -> State {
        State::Table(Box::new(TableParser::new(delimiter, self.settings.columns.clone())))
    }
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start()
}

/// Calls a parser with a line, if that is text.
fn with_line(line: &[u8], number: u32, sink: &mut Sink<'_>, parse: impl FnOnce(&str, &mut Sink<'_>)) {
    match std::str::from_utf8(line) {
        Ok(text) => parse(text, sink),
        Err(_) => sink.put(number, Err(Problem::new("the line is not UTF-8 text"))),
    }
}

/// Calls a parser with a whole list, if that is text.
fn with_text(bytes: &[u8], sink: &mut Sink<'_>, parse: impl FnOnce(&str, &mut Sink<'_>)) {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text, sink),
        Err(error) => {
            let lines = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            let line = u32::try_from(lines + 1).unwrap_or(u32::MAX);
            sink.put(line, Err(Problem::new("the line is not UTF-8 text")));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::list::testing::{messages, read, read_in_pieces};

    #[test]
    fn what_is_no_text_is_refused() {
        assert_eq!(
            messages("http://h/a\nnot a url\n\nexample.com/x\n"),
            [
                "list:2: 'not a url' is not an absolute URL",
                "list:4: 'example.com/x' is not an absolute URL; did you mean https://example.com/x?",
            ]
        );
        let bytes =
            |bytes: &[u8]| parse("list", bytes).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            bytes(b"http://h/\xff\nhttp://h/\xfe"),
            ["list:1: the line is not UTF-8 text", "list:2: the line is not UTF-8 text"]
        );
        assert_eq!(bytes(b"\xff\xfeh\0t\0\n\0x\0"), ["list:1: the list is UTF-16; save it as UTF-8"]);
        assert_eq!(bytes(b"[\n\"http://h/a\",\n\"\xff\"]"), ["list:3: the line is not UTF-8 text"]);
        assert_eq!(bytes(&vec![b'x'; MAX_LINE + 1]), ["list:1: the line is too long: is this a list?"]);
    }

    #[test]
    fn the_lines_after_one_that_is_too_long_are_read() {
        let text = format!("http://h/a\n{}\nhttp://h/b\n", "x".repeat(3 * MAX_LINE));
        assert_eq!(
            read_in_pieces(&text, 4096),
            ["1 http://h/a", "? list:2: the line is too long: is this a list?", "3 http://h/b"]
        );
    }

    #[test]
    fn a_metalink_in_one_long_line_is_read() {
        let file = "<file name='a'><url>http://h/a</url></file>";
        let text = format!("<metalink xmlns='urn:ietf:params:xml:ns:metalink'>{}</metalink>", file.repeat(30_000));
        assert_eq!(read_in_pieces(&text, 4096).len(), 30_000);
    }

    #[test]
    fn an_array_in_one_long_line_is_read() {
        let urls = vec!["\"http://h/a\""; 200_000];
        let text = format!("\n\n[{}]", urls.join(","));
        assert_eq!(read_in_pieces(&text, 4096).len(), urls.len());
    }

    #[test]
    fn a_url_is_handed_over_while_nothing_follows_unless_the_list_has_options() {
        let mut taken = 0;
        let mut parser = ListParser::new("list", ListSettings::default());
        let mut count = |item| taken += usize::from(matches!(item, Parsed::Entry(_)));
        parser.push(b"http://h/a\nhttp://h/", &mut count);
        parser.release(&mut count);
        parser.push(b"b\n out=c\nhttp://h/d\n", &mut count);
        parser.release(&mut count);
        assert_eq!(taken, 2);
    }

    #[test]
    fn a_format_that_is_given_is_not_guessed() {
        let settings = |format| ListSettings { format: Some(format), ..ListSettings::default() };
        assert_eq!(read("http://h/a", settings(Format::Json)), ["? list:1:1: this is not valid JSON: expected value"]);
        assert_eq!(
            read("{}", settings(Format::Lines)),
            ["? list:1: '{}' is not an absolute URL; --base URL resolves relative references"]
        );
        assert_eq!(read("url\thttp\nhttp://h/a\t2", settings(Format::Tsv)), ["2 http://h/a"]);
    }

    proptest! {
        #[test]
        fn never_panics_and_pieces_change_nothing(text in "(?s)(http://h/|\\[|\\{|\"url\"|\"|:|,|\\}|\\]|<metalink|  |\t|\n| out=|=|;|\u{feff}|[a-zé ./#\\\\]|.){0,40}", size in 1_usize..9, format in 0_usize..6) {
            let columns = Some(Columns::parse(["url=1"]).unwrap()).filter(|_| format > 3);
            let format = [None, Some(Format::Lines), Some(Format::Json), Some(Format::Metalink), Some(Format::Csv), Some(Format::Tsv)][format];
            let settings = ListSettings { format, columns, base: None };
            let whole = read(&text, settings.clone());
            let mut parser = ListParser::new("list", settings);
            let mut pieces = Vec::new();
            let mut take = |item| pieces.push(crate::plan::list::testing::describe(item));
            text.as_bytes().chunks(size).for_each(|piece| parser.push(piece, &mut take));
            parser.finish(&mut take);
            prop_assert_eq!(pieces, whole);
        }
    }
}
