//! Percent-encoding (RFC 3986, section 2.1).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Percent-decodes a text once. Bytes that are not UTF-8 stay encoded.
#[must_use]
pub fn percent_decode(text: &str) -> String {
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(text).collect();
    percent_encode_invalid(&bytes)
}

/// Converts bytes to text, percent-encoding those that are not UTF-8.
#[must_use]
pub fn percent_encode_invalid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| percent_encoding::percent_encode_byte(*byte)));
    }
    text
}

/// Percent-encodes a path, so that each of its characters stands for itself in a URL; `/` separates segments.
#[must_use]
pub fn percent_encode_path(path: &str) -> String {
    /// All that RFC 3986 allows in a path, section 3.3, stays as it is.
    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b'!')
        .remove(b'$')
        .remove(b'&')
        .remove(b'\'')
        .remove(b'(')
        .remove(b')')
        .remove(b'*')
        .remove(b'+')
        .remove(b',')
        .remove(b';')
        .remove(b'=')
        .remove(b':')
        .remove(b'@');
    utf8_percent_encode(path, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_happens_once_and_keeps_bytes_that_are_not_utf8() {
        for (text, decoded) in [
            ("a%20b", "a b"),
            ("%252e", "%2e"),
            ("caf%C3%A9", "café"),
            ("caf%E9.txt", "caf%E9.txt"),
            ("100%", "100%"),
            ("%zz", "%zz"),
        ] {
            assert_eq!(percent_decode(text), decoded);
        }
    }

    #[test]
    fn every_character_of_an_encoded_path_stands_for_itself() {
        assert_eq!(percent_encode_path("a b/c?d#e%20~é;+@"), "a%20b/c%3Fd%23e%2520~%C3%A9;+@");
    }
}
