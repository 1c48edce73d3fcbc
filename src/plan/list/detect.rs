//! Tells the format of a list by its first bytes.

use super::error::Problem;

/// A format of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One entry per line: plain URLs, URLs with names, aria2's input files and checksum files.
    Lines,
    /// JSON Lines, or a JSON array.
    Json,
    /// A table with commas.
    Csv,
    /// A table with tabs.
    Tsv,
    /// Metalink 4.
    Metalink,
}

/// What the beginning of a list shows.
#[derive(Debug, PartialEq, Eq)]
pub enum Detected {
    Lines,
    JsonLines,
    JsonArray,
    Metalink,
    /// It is no list that tdl can read.
    Refused(Problem),
}

/// Tells the format by a text that begins with the first line that is not blank.
pub fn detect(start: &[u8]) -> Detected {
    let refused = |message: &str| Detected::Refused(Problem::new(message));
    let starts_with = |tag: &[u8]| start.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag));
    for (magic, name, command) in [
        (&b"\x28\xb5\x2f\xfd"[..], "zstd", "zstd -dc"),
        (b"\xfd7zXZ\0", "xz", "xz -dc"),
        (b"BZh", "bzip2", "bzip2 -dc"),
        (b"PK\x03\x04", "zip", "unzip -p"),
    ] {
        if start.starts_with(magic) {
            return refused(&format!("the list is compressed with {name}; use {command} FILE | tdl fetch -i -"));
        }
    }
    if start.starts_with(b"PAR1") {
        return refused("the list is in the Parquet format; docs/lists.md shows how to make a CSV of it");
    }
    if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
        return refused("the list is UTF-16; save it as UTF-8");
    }
    match start.first() {
        Some(b'{') => Detected::JsonLines,
        Some(b'"') if serde_json::from_slice::<String>(start).is_ok() => Detected::JsonLines,
        Some(b'[') => Detected::JsonArray,
        Some(b'<') if starts_with(b"<!doctype html") || starts_with(b"<html") => {
            refused("this is a web page, not a list; docs/lists.md shows how to take URLs from one")
        }
        // A URL in angle brackets.
        Some(b'<') if !starts_with(b"<http:") && !starts_with(b"<https:") => Detected::Metalink,
        _ => Detected::Lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_format() {
        for (start, format) in [
            ("http://h/a", Some(Detected::Lines)),
            ("# comment", Some(Detected::Lines)),
            ("", Some(Detected::Lines)),
            ("{\"url\"", Some(Detected::JsonLines)),
            ("\"http://h/a\"\n", Some(Detected::JsonLines)),
            ("\"http://h/a\",\"b\"\n", Some(Detected::Lines)),
            ("[", Some(Detected::JsonArray)),
            ("<?xml", Some(Detected::Metalink)),
            ("<metalink", Some(Detected::Metalink)),
            ("<https://h/a>", Some(Detected::Lines)),
            ("<!DOCTYPE html>", None),
            ("<HTML>", None),
            ("PK\x03\x04", None),
            ("PAR1", None),
        ] {
            let detected = detect(start.as_bytes());
            assert_eq!(Some(detected).filter(|detected| !matches!(detected, Detected::Refused(_))), format, "{start}");
        }
    }
}
