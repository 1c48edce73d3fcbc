//! Any bytes, in any format and in any pieces, parse to entries that can be fetched, or to errors that can be printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tdl::fuzzing::is_hidden;
use tdl::list::{Columns, Format, Parsed, ListParser, ListSettings};
use tdl::WebUrl;

const FORMATS: [Option<Format>; 6] =
    [None, Some(Format::Lines), Some(Format::Json), Some(Format::Csv), Some(Format::Tsv), Some(Format::Metalink)];

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (choice, piece, bytes) = input;
    let columns = Columns::parse(["url=1,out=2,md5=3,size=4"]).ok().filter(|_| choice & 0x40 != 0);
    let base = WebUrl::parse("https://base/dir/").ok().filter(|_| choice & 0x80 != 0);
    let settings = ListSettings { format: FORMATS[usize::from(choice & 0x3f) % FORMATS.len()], base, columns };
    let mut parser = ListParser::new("list", settings);
    let mut take = |item| match item {
        Parsed::Entry(entry) => {
            for url in entry.sources().iter().map(|source| &source.url) {
                assert!(!url.to_string().contains(is_hidden));
                assert_eq!(WebUrl::parse(url.unredacted()).as_ref(), Ok(url));
            }
        }
        Parsed::Invalid(error, _) => assert!(!error.to_string().contains(is_hidden)),
        Parsed::Warning(warning) => assert!(!warning.contains(is_hidden)),
    };
    for piece in bytes.chunks(usize::from(piece) + 1) {
        parser.push(piece, &mut take);
        parser.release(&mut take);
    }
    parser.finish(&mut take);
});
