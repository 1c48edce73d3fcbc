//! Reads the lines of a list, none longer than a limit.

use std::io::{self, BufRead, Read as _};

use crate::plan::list::PlainParser;

/// No line of a list is so long. What has no lines would not fit in memory.
const MAX_LINE: u64 = 1024 * 1024;

/// Parses the next line of a list. Returns false at its end.
pub fn parse_next_line(list: &mut impl BufRead, parser: &mut PlainParser, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    if list.by_ref().take(MAX_LINE).read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if line.len() as u64 == MAX_LINE {
        let number = parser.lines() + 1;
        return Err(io::Error::other(format!("line {number} has no end: is this a list of URLs?")));
    }
    parser.push_line(line);
    Ok(true)
}
