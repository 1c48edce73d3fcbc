//! Reads lists in tests, and describes what was found.

use super::parser::{ListParser, ListSettings};
use super::sink::Parsed;
use crate::url::WebUrl;

/// Checks what a list says; relative references are below `http://base/`.
pub fn check(text: &str, expected: &[&str]) {
    let base = WebUrl::parse("http://base/").ok();
    assert_eq!(read(text, ListSettings { base, ..ListSettings::default() }), expected);
}

/// The errors of a list.
pub fn messages(text: &str) -> Vec<String> {
    let found = read(text, ListSettings::default());
    found.iter().filter_map(|item| item.strip_prefix("? ")).map(str::to_owned).collect()
}

pub fn read(text: &str, settings: ListSettings) -> Vec<String> {
    read_with(text, settings, text.len().max(1))
}

pub fn read_in_pieces(text: &str, size: usize) -> Vec<String> {
    read_with(text, ListSettings::default(), size)
}

fn read_with(text: &str, settings: ListSettings, size: usize) -> Vec<String> {
    let mut parser = ListParser::new("list", settings);
    let mut found = Vec::new();
    let mut take = |item| found.push(describe(item));
    text.as_bytes().chunks(size).for_each(|piece| parser.push(piece, &mut take));
    parser.finish(&mut take);
    found
}

/// Describes an entry as `LINE URL… -> TARGET SIZE DIGEST… HEADER…`, an error after `?` and a warning after `!`.
pub fn describe(item: Parsed) -> String {
    let entry = match item {
        Parsed::Entry(entry) => entry,
        Parsed::Invalid(error, _) => return format!("? {error}"),
        Parsed::Warning(warning) => return format!("! {warning}"),
    };
    let mut words = vec![entry.place.to_string()];
    words.extend(entry.sources().iter().map(|source| source.url.unredacted().to_owned()));
    if let Some(target) = &entry.target {
        words.push(format!("{} {target}", if entry.position.is_named() { "->" } else { "~>" }));
    }
    words.extend(entry.expected().length.map(|length| length.to_string()));
    words.extend(
        entry.expected().digests.iter().map(|digest| format!("{}={}", digest.algorithm().name(), digest.hex())),
    );
    words.extend(entry.sources()[0].headers().iter().map(|header| header.name().to_owned()));
    words.join(" ")
}
