//! Any bytes, in any pieces, parse to digests of files below the output directory, or to errors that can be printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tdl::fuzzing::is_hidden;
use tdl::list::{Sum, SumsParser};
use tdl_fuzz::check_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (length, bytes) = input;
    let whole = parse(std::iter::once(bytes));
    assert_eq!(whole, parse(bytes.chunks(usize::from(length) + 1)));
    for sum in whole {
        match sum {
            Ok((target, _)) => check_target(&target),
            Err(error) => assert!(!error.to_string().contains(is_hidden), "{error}"),
        }
    }
});

fn parse<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> Vec<Sum> {
    let mut found = Vec::new();
    let mut take = |sum| found.push(sum);
    let mut parser = SumsParser::new("sums");
    pieces.for_each(|piece| parser.push(piece, &mut take));
    parser.finish(&mut take);
    found
}
