//! Metalink documents.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tdl::list::Format;
use tdl_fuzz::{Input, check_list};

fuzz_target!(|input: Input<'_>| check_list(input, Some(Format::Metalink)));
