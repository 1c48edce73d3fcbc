//! The lines of checksum files: those of `sha256sum` and its relatives, of BSD, and of OpenSSL.

use std::borrow::Cow;

use super::error::{Problem, bad_value};
use crate::digest::{Algorithm, Digest};

/// Parses a line that begins with a digest, or with the name of an algorithm and a name in parentheses. Returns the
/// digest and the name; `None` if the line looks like neither.
pub fn parse_checksum(line: &str) -> Option<Result<(Digest, Cow<'_, str>), Problem>> {
    parse_gnu(line).map(Ok).or_else(|| parse_tagged(line))
}

/// `HEX  name`, or `HEX *name` for a file that was read as binary. GNU's programs begin the line with a backslash if
/// the name has escapes.
fn parse_gnu(line: &str) -> Option<(Digest, Cow<'_, str>)> {
    let (is_escaped, line) = line.strip_prefix('\\').map_or((false, line), |rest| (true, rest));
    let digits = line.find([' ', '\t'])?;
    let digest = Digest::from_bare_hex(&line[..digits])?;
    let rest = &line[digits..];
    // Some programs separate with one space, or with a tab.
    let name = rest.strip_prefix("  ").or_else(|| rest.strip_prefix(" *")).unwrap_or_else(|| rest.trim_start());
    let name = if is_escaped { unescape(name).into() } else { name.into() };
    Some((digest, name))
}

/// `SHA256 (name) = HEX`, which OpenSSL writes without the spaces.
fn parse_tagged(line: &str) -> Option<Result<(Digest, Cow<'_, str>), Problem>> {
    let (tag, rest) = line.split_once('(')?;
    let tag = tag.trim_end();
    if tag.is_empty() || !tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '/' | '_')) {
        return None;
    }
    let (name, hex) = rest.rsplit_once(')')?;
    let hex = hex.trim_start().strip_prefix('=')?.trim();
    let Some(algorithm) = Algorithm::from_name(tag) else {
        return Some(Err(unknown_algorithm(tag)));
    };
    let digest = Digest::from_hex(algorithm, hex);
    Some(digest.map(|digest| (digest, name.into())).ok_or_else(|| wrong_digest(algorithm, hex)))
}

/// Parses `sha-256=HEX` or `sha-256:HEX`.
pub fn parse_named_digest(text: &str) -> Result<Digest, Problem> {
    let Some((name, hex)) = text.split_once(['=', ':']) else {
        return Err(bad_value("the checksum", text, "has no algorithm; write sha-256=HEX"));
    };
    let algorithm = Algorithm::from_name(name.trim()).ok_or_else(|| unknown_algorithm(name.trim()))?;
    parse_digest(algorithm, hex)
}

/// Parses the hexadecimal digits of a digest.
pub fn parse_digest(algorithm: Algorithm, hex: &str) -> Result<Digest, Problem> {
    Digest::from_hex(algorithm, hex.trim()).ok_or_else(|| wrong_digest(algorithm, hex.trim()))
}

fn unknown_algorithm(name: &str) -> Problem {
    let known = Algorithm::ALL.map(Algorithm::name).join(", ");
    bad_value("the algorithm", name, &format!("is not known; tdl knows {known}"))
}

fn wrong_digest(algorithm: Algorithm, hex: &str) -> Problem {
    let (name, digits) = (algorithm.name(), algorithm.length() * 2);
    bad_value("the checksum", hex, &format!("is not one of {name}, which has {digits} hexadecimal digits"))
}

/// Undoes the escapes of GNU's programs: `\\`, `\n` and `\r`.
fn unescape(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some('n')) => plain.push('\n'),
            ('\\', Some('r')) => plain.push('\r'),
            ('\\', Some('\\')) => plain.push('\\'),
            _ => {
                plain.push(c);
                continue;
            }
        }
        chars.next();
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

    #[test]
    fn lines_of_checksum_files() {
        let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (line, algorithm, name) in [
            (format!("{MD5}  a b.txt"), "md5", "a b.txt"),
            (format!("{MD5} *a.txt"), "md5", "a.txt"),
            (format!("{MD5} a.txt"), "md5", "a.txt"),
            (format!("{MD5}\ta.txt"), "md5", "a.txt"),
            (format!("{MD5}   a.txt"), "md5", " a.txt"),
            (format!("{sha256}  ./dir/a"), "sha-256", "./dir/a"),
            (format!("{}  A", sha256.to_uppercase()), "sha-256", "A"),
            (format!("\\{MD5}  a\\\\b\\nc\\x"), "md5", "a\\b\nc\\x"),
            (format!("SHA256 (a (1).txt) = {sha256}"), "sha-256", "a (1).txt"),
            (format!("SHA2-256(a)= {sha256}"), "sha-256", "a"),
            (format!("MD5 (a) = {MD5}"), "md5", "a"),
            (format!("{MD5}  https://h/a"), "md5", "https://h/a"),
        ] {
            let (digest, found) = parse_checksum(&line).unwrap().unwrap();
            assert_eq!((digest.algorithm().name(), &*found), (algorithm, name), "{line}");
        }
        for line in ["http://h/a", "a/b.gz", "", MD5, "d41d8c  a", "(a) = b", "http://h/a(1)"] {
            assert_eq!(parse_checksum(line), None, "{line}");
        }
        for line in [format!("CRC32 (a) = {MD5}"), format!("SHA512/256 (a) = {sha256}"), format!("SHA256 (a) = {MD5}")]
        {
            assert!(parse_checksum(&line).unwrap().is_err(), "{line}");
        }
    }

    #[test]
    fn a_digest_may_name_its_algorithm() {
        assert!(parse_named_digest(&format!("md5:{MD5}")).is_ok());
        assert!(parse_named_digest(&format!("MD5={MD5}")).is_ok());
        for wrong in [MD5.to_owned(), format!("crc32c:{MD5}"), "md5:".to_owned(), format!("sha-256={MD5}")] {
            assert!(parse_named_digest(&wrong).is_err(), "{wrong}");
        }
    }
}
