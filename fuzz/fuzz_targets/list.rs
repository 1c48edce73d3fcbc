//! Lists of whichever format their first bytes show.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tdl_fuzz::{Input, check_list};

fuzz_target!(|input: Input<'_>| check_list(input, None));
