//! Any bytes parse to URLs that can be requested, or to errors that can be printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tdl::fuzzing::{is_hidden, list};

fuzz_target!(|bytes: &[u8]| match list::parse_plain("list", bytes) {
    Ok(entries) => {
        for url in entries.iter().flat_map(|entry| entry.sources()).map(|source| &source.url) {
            assert!(!url.to_string().contains(is_hidden));
            assert_eq!(tdl::WebUrl::parse(url.unredacted()).as_ref(), Ok(url));
        }
    }
    Err(errors) => {
        assert!(!errors.is_empty());
        assert!(errors.iter().all(|error| !error.to_string().contains(is_hidden)));
    }
});
