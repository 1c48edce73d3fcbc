//! Standard input as a list that is downloaded while it is read, on a thread of its own. Nothing waits for that thread:
//! it may be stuck in a read.

use std::io::{self, BufReader, Read};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use super::pieces::{BUFFER, read_pieces};
use crate::error::Error;
use crate::plan::Layout;
use crate::plan::list::{ListParser, ListSettings, Parsed};
use crate::run::Item;

/// How many items may wait to be taken: the rest is left to the program that writes them.
const MAX_ITEMS: usize = 1000;

/// How many pieces may wait to be parsed.
const MAX_PIECES: usize = 2;

/// After a silence of this length, an entry is used although the next line could have options for it.
const SILENCE: Duration = Duration::from_millis(100);

/// A list on standard input, as it arrives.
pub struct StdinList {
    pub items: Receiver<Item>,
    /// Why it could not be read, if that was before its first item. Later, it is an item.
    pub failure: Arc<OnceLock<io::Error>>,
}

/// What one read has brought.
type Piece = io::Result<Vec<u8>>;

/// How standard input is read.
pub struct StdinSettings {
    /// Whether there is something to download without it.
    pub has_started: bool,
    pub layout: Layout,
    pub list: ListSettings,
}

/// Starts to read. The place of line *n* is `start` + *n*.
pub fn read_stdin(name: &str, start: u32, settings: StdinSettings) -> Result<StdinList, Error> {
    let StdinSettings { has_started, layout, list } = settings;
    let (pieces_tx, pieces) = mpsc::sync_channel(MAX_PIECES);
    let (tx, items) = mpsc::sync_channel(MAX_ITEMS);
    let failure = Arc::default();
    let parsing = Parsing {
        parser: ListParser::new(name, list).with_start(start),
        start,
        sending: Sending { tx, layout, is_closed: false, has_started },
    };
    let first_failure = Arc::clone(&failure);
    spawn("tdl-stdin", move || read(io::stdin(), &pieces_tx))?;
    spawn("tdl-list", move || parsing.parse(&pieces, &first_failure))?;
    Ok(StdinList { items, failure })
}

/// Puts what is wrong with other lists before a list, of which there may be none.
pub fn put_before(invalid: Vec<(u32, String)>, list: Option<Receiver<Item>>) -> Result<Option<Receiver<Item>>, Error> {
    if invalid.is_empty() {
        return Ok(list);
    }
    let (tx, items) = mpsc::sync_channel(MAX_ITEMS);
    let forward = move || {
        let invalid = invalid.into_iter().map(|(place, problem)| Item::invalid(place, problem));
        // An error means that the run takes no more items.
        let _ = invalid.chain(list.into_iter().flatten()).try_for_each(|item| tx.send(item));
    };
    spawn("tdl-invalid", forward)?;
    Ok(Some(items))
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map(drop).map_err(|source| Error::Exhausted { action: "start a thread", source })
}

fn read(list: impl Read, tx: &SyncSender<Piece>) {
    let list = BufReader::with_capacity(BUFFER, list);
    if let Err(error) = read_pieces(list, |piece| tx.send(Ok(piece.to_vec())).is_ok()) {
        let _ = tx.send(Err(error));
    }
}

struct Parsing {
    parser: ListParser,
    start: u32,
    sending: Sending,
}

struct Sending {
    tx: SyncSender<Item>,
    layout: Layout,
    /// Whether the run takes no more items.
    is_closed: bool,
    has_started: bool,
}

impl Parsing {
    fn parse(mut self, pieces: &Receiver<Piece>, first_failure: &OnceLock<io::Error>) {
        let mut is_silent = true;
        while !self.sending.is_closed {
            let piece = if is_silent {
                pieces.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                pieces.recv_timeout(SILENCE)
            };
            is_silent = piece.is_err();
            let take = &mut |parsed| self.sending.send(parsed);
            match piece {
                Ok(Ok(bytes)) => self.parser.push(&bytes, take),
                Ok(Err(error)) => return self.end_with(error, first_failure),
                Err(RecvTimeoutError::Timeout) => self.parser.release(take),
                Err(RecvTimeoutError::Disconnected) => return self.parser.finish(take),
            }
        }
    }

    /// The rest of the list cannot be read.
    fn end_with(mut self, error: io::Error, first_failure: &OnceLock<io::Error>) {
        let place = self.start.saturating_add(self.parser.lines().saturating_add(1));
        self.parser.finish(&mut |parsed| self.sending.send(parsed));
        if self.sending.has_started {
            let _ = self.sending.tx.send(Item::invalid(place, format!("cannot read the rest of the list: {error}")));
        } else {
            let _ = first_failure.set(error);
        }
    }
}

impl Sending {
    fn send(&mut self, parsed: Parsed) {
        let item = match parsed {
            Parsed::Entry(entry) => Item::from(entry.with_layout(self.layout)),
            Parsed::Invalid(error, place) => Item::invalid(place, error.message()),
            Parsed::Warning(warning) => Item::Warning(warning),
        };
        self.is_closed = self.is_closed || self.tx.send(item).is_err();
        self.has_started = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one piece for each read, and then an error.
    struct Pieces(Vec<&'static str>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(io::Error::other("broken"));
            }
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(piece.as_bytes());
            Ok(piece.len())
        }
    }

    fn parse(input: impl Read, has_started: bool) -> (Vec<String>, Option<String>) {
        let (pieces_tx, pieces) = mpsc::sync_channel(100);
        let (tx, items) = mpsc::sync_channel(100);
        let failure = OnceLock::new();
        read(input, &pieces_tx);
        drop(pieces_tx);
        let parser = ListParser::new("stdin", ListSettings::default()).with_start(10);
        Parsing { parser, start: 10, sending: Sending { tx, layout: Layout::Flat, is_closed: false, has_started } }
            .parse(&pieces, &failure);
        let describe = |item| match item {
            Item::Entry(entry) => format!("{} {}", entry.place(), entry.sources()[0].url),
            Item::Invalid { place, problem } => format!("{place} {problem}"),
            Item::Warning(warning) => warning,
        };
        (items.iter().map(describe).collect(), failure.get().map(ToString::to_string))
    }

    #[test]
    fn items_come_in_the_order_of_their_lines() {
        let (items, failure) = parse("http://h/a\na bad line\n\n# no\nhttp://h/b\nhttp://h/c".as_bytes(), false);
        let expected = ["11 http://h/a", "12 'a bad line' is not an absolute URL", "15 http://h/b", "16 http://h/c"];
        assert_eq!((items, failure), (expected.map(str::to_owned).to_vec(), None));
        assert_eq!(parse("".as_bytes(), false), (Vec::new(), None));
    }

    #[test]
    fn what_has_arrived_is_used_before_an_error_is() {
        let (items, failure) = parse(Pieces(vec!["http://h/a\nhttp", "://h/b\nhttp://h/c"]), false);
        let expected =
            ["11 http://h/a", "12 http://h/b", "13 http://h/c", "13 cannot read the rest of the list: broken"];
        assert_eq!((items, failure), (expected.map(str::to_owned).to_vec(), None));
        assert_eq!(parse(Pieces(vec!["# nothing yet\n"]), false), (Vec::new(), Some("broken".to_owned())));
        let item = "12 cannot read the rest of the list: broken".to_owned();
        assert_eq!(parse(Pieces(vec!["# nothing yet\n"]), true), (vec![item], None));
    }
}
