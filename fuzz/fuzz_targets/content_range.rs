//! A parsed Content-Range lies within its total.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tdl::fuzzing::ContentRange;

fuzz_target!(|text: &str| {
    if let Some(ContentRange::Satisfied { first, last, total }) = ContentRange::parse(text) {
        assert!(first <= last && total.is_none_or(|total| last < total));
    }
});
