//! Standard input as a list that is downloaded while it is read, on a thread of its own. Nothing waits for that thread:
//! it may be stuck in a read.

use std::io::{self, BufReader, Read};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, OnceLock};
use std::thread;

use super::lines::parse_next_line;
use crate::error::Error;
use crate::plan::list::PlainParser;
use crate::run::Item;

/// How many items may wait to be taken: the rest is left to the program that writes them.
const MAX_ITEMS: usize = 1000;

/// How many bytes are read at once, if there are so many.
const BUFFER: usize = 64 * 1024;

/// A list on standard input, as it arrives.
pub struct StdinList {
    pub items: Receiver<Item>,
    /// Why it could not be read, if that was before anything had started. Later, it is an item.
    pub failure: Arc<OnceLock<io::Error>>,
}

/// Starts to read. The place of line *n* is `start` + *n*. `has_started` says whether there is something to download
/// without it.
pub fn read_stdin(name: &str, start: u32, has_started: bool) -> Result<StdinList, Error> {
    let (tx, items) = mpsc::sync_channel(MAX_ITEMS);
    let failure = Arc::default();
    let list = Sending { parser: PlainParser::new(name).with_start(start), start, tx, has_started };
    let first_failure = Arc::clone(&failure);
    let read = move || list.read(io::stdin(), &first_failure);
    let thread = thread::Builder::new().name("tdl-stdin".to_owned()).spawn(read);
    thread.map_err(|source| Error::Exhausted { action: "start a thread", source })?;
    Ok(StdinList { items, failure })
}

struct Sending {
    parser: PlainParser,
    start: u32,
    tx: SyncSender<Item>,
    has_started: bool,
}

/// The run takes no more items.
struct Closed;

impl Sending {
    fn read(mut self, stdin: impl Read, first_failure: &OnceLock<io::Error>) {
        let (mut stdin, mut line) = (BufReader::with_capacity(BUFFER, stdin), Vec::new());
        loop {
            let result = parse_next_line(&mut stdin, &mut self.parser, &mut line);
            // Lines that have arrived together are packed together; none waits for one that has not.
            let has_line = stdin.buffer().contains(&b'\n');
            let is_end = !matches!(result, Ok(true));
            if (is_end || !has_line || self.parser.has_errors()) && self.send_parsed().is_err() {
                return;
            }
            match result {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) if self.has_started => {
                    let place = self.place(self.parser.lines().saturating_add(1));
                    let _ = self.tx.send(Item::invalid(place, format!("cannot read the rest of the list: {error}")));
                    return;
                }
                Err(error) => return drop(first_failure.set(error)),
            }
        }
    }

    fn send_parsed(&mut self) -> Result<(), Closed> {
        let (entries, errors) = self.parser.take();
        // Each error is sent at once, so it is about the last of these lines.
        let errors: Vec<_> =
            errors.iter().map(|error| Item::invalid(self.place(error.line()), error.problem())).collect();
        for item in entries.into_iter().map(Item::from).chain(errors) {
            self.tx.send(item).map_err(|_| Closed)?;
            self.has_started = true;
        }
        Ok(())
    }

    const fn place(&self, line: u32) -> u32 {
        self.start.saturating_add(line)
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

    fn read(input: impl Read, has_started: bool) -> (Vec<String>, Option<String>) {
        let (tx, items) = mpsc::sync_channel(100);
        let failure = OnceLock::new();
        Sending { parser: PlainParser::new("stdin").with_start(10), start: 10, tx, has_started }.read(input, &failure);
        let describe = |item| match item {
            Item::Entry(entry) => format!("{} {}", entry.place(), entry.sources()[0].url),
            Item::Invalid { place, problem } => format!("{place} {problem}"),
        };
        (items.iter().map(describe).collect(), failure.get().map(ToString::to_string))
    }

    #[test]
    fn items_come_in_the_order_of_their_lines() {
        let (items, failure) = read("http://h/a\nbad\n\n# no\nhttp://h/b\nhttp://h/c".as_bytes(), false);
        let expected = ["11 http://h/a", "12 'bad' is not an absolute URL", "15 http://h/b", "16 http://h/c"];
        assert_eq!((items, failure), (expected.map(str::to_owned).to_vec(), None));
        assert_eq!(read("".as_bytes(), false), (Vec::new(), None));
    }

    #[test]
    fn what_has_arrived_is_used_before_an_error_is() {
        let (items, failure) = read(Pieces(vec!["http://h/a\nhttp", "://h/b\nhttp://h/c"]), false);
        let expected = ["11 http://h/a", "12 http://h/b", "13 cannot read the rest of the list: broken"];
        assert_eq!((items, failure), (expected.map(str::to_owned).to_vec(), None));
        assert_eq!(read(Pieces(vec!["# nothing yet\n"]), false), (Vec::new(), Some("broken".to_owned())));
        let item = "12 cannot read the rest of the list: broken".to_owned();
        assert_eq!(read(Pieces(vec!["# nothing yet\n"]), true), (vec![item], None));
    }
}
