//! Checksum files that are not lists of what to fetch: they vouch for the files of another list.

use super::armor::Armor;
use super::checksum::parse_checksum;
use super::error::{ListError, Problem, bad_value};
use super::record::to_target;
use super::reference::has_scheme;
use crate::digest::Digest;
use crate::plan::target::Target;

/// No line of a checksum file is so long.
const MAX_LINE: usize = 64 * 1024;

/// The file that a line is about, and its digest.
pub type Sum = Result<(Target, Digest), ListError>;

/// Parses a checksum file as it comes.
#[derive(Debug)]
pub struct SumsParser {
    name: String,
    lines: u32,
    rest: Vec<u8>,
    armor: Armor,
}

impl SumsParser {
    /// Creates a parser. `name` identifies the file in errors.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), lines: 0, rest: Vec::new(), armor: Armor::default() }
    }

    /// Parses the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8], take: &mut dyn FnMut(Sum)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.rest.len() <= MAX_LINE {
                self.rest.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                self.push_line(take);
            }
        }
    }

    /// Ends the file.
    pub fn finish(&mut self, take: &mut dyn FnMut(Sum)) {
        if !self.rest.is_empty() {
            self.push_line(take);
        }
    }

    fn push_line(&mut self, take: &mut dyn FnMut(Sum)) {
        self.lines = self.lines.saturating_add(1);
        let line = std::mem::take(&mut self.rest);
        if let Some(sum) = self.parse_line(&line).transpose() {
            take(sum.map_err(|problem| ListError::new(&self.name, self.lines, problem)));
        }
    }

    fn parse_line(&mut self, line: &[u8]) -> Result<Option<(Target, Digest)>, Problem> {
        if line.len() > MAX_LINE {
            return Err(Problem::new("the line has no end: is this a checksum file?"));
        }
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| Problem::new("the line is not UTF-8 text"))?;
        let line = line.trim_end_matches(['\n', '\r']);
        if self.armor.covers(line) || line.trim().is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (digest, name) =
            parse_checksum(line).ok_or_else(|| bad_value("the line", line, "is not a checksum and a name"))??;
        if has_scheme(&name) {
            return Err(bad_value("the checksum of", &name, "names a URL; such a file is a list itself, for -i"));
        }
        Ok(Some((to_target(&name)?, digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_cut_is_no_sum() {
        let text = format!("d41d8cd98f00b204e9800998ecf8427e  {}\n", "a/".repeat(MAX_LINE));
        for size in [1000, text.len()] {
            let mut found = Vec::new();
            let mut take = |sum: Sum| found.push(sum.map_err(|error| error.to_string()));
            let mut parser = SumsParser::new("sums");
            text.as_bytes().chunks(size).for_each(|piece| parser.push(piece, &mut take));
            parser.finish(&mut take);
            assert_eq!(found, [Err("sums:1: the line has no end: is this a checksum file?".to_owned())], "{size}");
        }
    }

    #[test]
    fn sums_name_files_of_another_list() {
        const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";
        let text = format!(
            "\u{feff}# note\r\n{MD5}  ./a\r\nMD5 (d/b) = {MD5}\n\n{MD5}  ../c\nnonsense\n{MD5}  http://h/d\n\
             -----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{MD5} *e"
        );
        for size in [1, 7, text.len()] {
            let mut found = Vec::new();
            let mut take =
                |sum: Sum| found.push(sum.map_or_else(|error| error.to_string(), |(target, _)| target.to_string()));
            let mut parser = SumsParser::new("sums");
            text.as_bytes().chunks(size).for_each(|piece| parser.push(piece, &mut take));
            parser.finish(&mut take);
            assert_eq!(
                found,
                [
                    "a",
                    "d/b",
                    "sums:5: the path '../c' leads out of the output directory",
                    "sums:6: the line 'nonsense' is not a checksum and a name",
                    "sums:7: the checksum of 'http://h/d' names a URL; such a file is a list itself, for -i",
                    "e",
                ]
            );
        }
    }
}
