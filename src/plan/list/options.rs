//! The options that a line may give to the URL before it, as aria2's input files have them.

use super::checksum::parse_named_digest;
use super::error::Problem;
use super::record::Record;
use super::sink::Sink;
use crate::url::WebUrl;

/// The options that tdl understands.
const KNOWN: [&str; 6] = ["out", "dir", "checksum", "header", "referer", "user-agent"];

/// Splits `key=value` if the key can be that of an option.
pub fn split_option(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    let is_key = key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    is_key.then(|| (key, value.trim()))
}

/// Whether a text is an option that tdl understands.
pub fn is_known_option(text: &str) -> bool {
    split_option(text).is_some_and(|(key, _)| KNOWN.contains(&key))
}

/// Applies an option to the record that it is for.
pub fn apply_option(record: &mut Record, key: &str, value: &str, sink: &mut Sink<'_>) -> Result<(), Problem> {
    match key {
        "out" => record.out = Some(value.to_owned()),
        "dir" => record.directory = Some(value.to_owned()),
        "checksum" => record.digests.push(parse_named_digest(value)?),
        "header" => record.add_header(value)?,
        "referer" => {
            // aria2 takes an asterisk for the URL itself.
            let own = record.urls.first().map(WebUrl::without_credentials);
            let referer =
                own.filter(|_| value == "*").map_or_else(|| value.to_owned(), |url| url.unredacted().to_owned());
            record.add_header(&format!("Referer: {referer}"))?;
        }
        "user-agent" => record.add_header(&format!("User-Agent: {value}"))?,
        _ => sink.ignore_option(key),
    }
    Ok(())
}
