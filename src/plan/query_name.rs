//! Names for files whose URLs differ only in their queries.

use sha2::{Digest as _, Sha256};

use super::name::is_unsafe;
use crate::url::{WebUrl, percent_decode, redacted_query, without_signature};

/// A longer query is hashed.
const MAX_LENGTH: usize = 64;

/// How many bytes of the hash are used.
const HASH_BYTES: usize = 8;

/// Returns what a URL's query adds to the name of its file: `@id=1` for `download?id=1`; `None` if it has none.
///
/// Signatures are left out, for they change. A query that is long, or that may hold a secret, is hashed.
pub fn query_suffix(url: &WebUrl) -> Option<String> {
    let query = without_signature(url.query()?);
    if query.is_empty() {
        return None;
    }
    let has_secret = redacted_query(&query) != query;
    let text: String = percent_decode(&query).chars().map(|c| if is_unsafe(c) { '_' } else { c }).collect();
    let text = text.trim_end_matches([' ', '.']);
    if has_secret || text.len() > MAX_LENGTH || text.contains(".part") {
        let hash = Sha256::digest(&query);
        return Some(hash[..HASH_BYTES].iter().fold("@".to_owned(), |text, byte| format!("{text}{byte:02x}")));
    }
    Some(format!("@{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_becomes_a_part_of_the_name() {
        for (query, suffix) in [
            ("id=1", Some("@id=1")),
            ("a=b%20c&d=e/f", Some("@a=b c&d=e_f")),
            ("", None),
            ("X-Amz-Date=d&X-Amz-Signature=s", None),
            ("X-Amz-Date=d&X-Amz-Signature=s&part=2", Some("@part=2")),
        ] {
            let url = WebUrl::parse(&format!("http://h/x?{query}")).unwrap();
            assert_eq!(query_suffix(&url).as_deref(), suffix, "{query}");
        }
        for query in ["token=secret", &format!("q={}", "long ".repeat(20))] {
            let suffix = query_suffix(&WebUrl::parse(&format!("http://h/x?{query}")).unwrap()).unwrap();
            assert!(suffix.len() == 17 && !suffix.contains("secret"), "{suffix}");
        }
    }
}
