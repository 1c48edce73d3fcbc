//! No Retry-After makes the parser panic.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use tdl::fuzzing::parse_retry_after;

fuzz_target!(|input: (u32, &str, Option<&str>)| {
    let (seconds, text, date) = input;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into());
    let _ = parse_retry_after(text, date, now);
});
