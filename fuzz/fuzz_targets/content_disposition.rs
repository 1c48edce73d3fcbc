//! Any Content-Disposition gives one component of a path, or nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tdl::fuzzing::{SafeName, is_hidden, name_from_server, parse_file_name};

fuzz_target!(|value: &[u8]| {
    let Some(name) = parse_file_name(value) else { return };
    assert!(!name.contains(['/', '\\']));
    assert!(!name.trim_matches(['.', ' ']).is_empty());
    let safe = name_from_server(&name);
    assert!(!safe.as_str().starts_with(['.', ' ']) && !safe.as_str().contains(is_hidden));
    assert_eq!(SafeName::from_user(safe.as_str()).as_ref(), Some(&safe));
});
