//! Percent-encoding (RFC 3986, section 2.1).

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
}
