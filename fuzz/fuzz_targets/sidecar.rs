//! A sidecar parsed from any bytes claims nothing beyond the bytes of the part file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tdl::WebUrl;
use tdl::fuzzing::Sidecar;

fuzz_target!(|input: (u64, &[u8])| {
    let (available, text) = input;
    let Ok(url) = WebUrl::parse("http://h/x") else { return };
    if let Ok(sidecar) = Sidecar::parse(text, &url, available) {
        assert!(sidecar.done.end() <= available);
        assert!(sidecar.done.count() <= sidecar.done.end());
    }
});
