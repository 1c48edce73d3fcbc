//! Tables with commas, with tabs, and with whichever the first line has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tdl::list::Format;
use tdl_fuzz::{Input, check_list};

const FORMATS: [Option<Format>; 3] = [None, Some(Format::Csv), Some(Format::Tsv)];

fuzz_target!(|input: Input<'_>| {
    let (choice, length, bytes) = input;
    let format = FORMATS[usize::from(choice) % FORMATS.len()];
    // Only columns make a table of a list without a format.
    let choice = if format.is_none() { choice | 0x40 } else { choice };
    check_list((choice, length, bytes), format);
});
