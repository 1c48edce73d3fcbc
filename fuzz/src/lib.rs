//! What the targets for lists share: an input, and what must hold for whatever a parser makes of it.

use std::collections::HashSet;

use tdl::fuzzing::is_hidden;
use tdl::list::{Columns, Format, ListParser, ListSettings, Parsed};
use tdl::{Entry, Plan, Target, WebUrl};

/// The settings, how long the pieces are in which a list comes, and the list.
pub type Input<'a> = (u8, u8, &'a [u8]);

/// Checks that a list of this format, in any pieces, gives entries that can be fetched and errors that can be printed.
pub fn check_list((choice, length, bytes): Input<'_>, format: Option<Format>) {
    let columns =
        ["url=1,out=2,md5=3,size=4", "url=u,out=o,checksum=c,header X-Key=k"][usize::from(choice & 0x20 != 0)];
    let settings = ListSettings {
        format,
        base: WebUrl::parse("https://base/dir/").ok().filter(|_| choice & 0x80 != 0),
        columns: Columns::parse([columns]).ok().filter(|_| choice & 0x40 != 0),
    };
    let pieces = || bytes.chunks(usize::from(length) + 1);
    let whole = parse(&settings, std::iter::once(bytes), false);
    assert_eq!(format!("{whole:?}"), format!("{:?}", parse(&settings, pieces(), false)));
    let mut entries = Vec::new();
    for item in whole.into_iter().chain(parse(&settings, pieces(), true)) {
        match item {
            Parsed::Entry(entry) => {
                for url in entry.sources().iter().map(|source| &source.url) {
                    assert!(!url.to_string().contains(is_hidden));
                    assert_eq!(WebUrl::parse(url.unredacted()).as_ref(), Ok(url));
                }
                entries.push(entry);
            }
            Parsed::Invalid(error, _) => assert!(!error.to_string().contains(is_hidden), "{error}"),
            Parsed::Warning(warning) => assert!(!warning.contains(is_hidden), "{warning}"),
        }
    }
    check_plan(entries);
}

fn parse<'b>(settings: &ListSettings, pieces: impl Iterator<Item = &'b [u8]>, has_pauses: bool) -> Vec<Parsed> {
    let mut found = Vec::new();
    let mut take = |item| found.push(item);
    let mut parser = ListParser::new("list", settings.clone());
    for piece in pieces {
        parser.push(piece, &mut take);
        if has_pauses {
            parser.release(&mut take);
        }
    }
    parser.finish(&mut take);
    found
}

/// Checks the targets that a plan gives these entries.
fn check_plan(entries: Vec<Entry>) {
    let plan = Plan::new(entries, |_| false);
    let mut targets = HashSet::new();
    for download in plan.downloads() {
        check_target(download.target());
        assert!(targets.insert(download.target().as_str().to_lowercase()), "{}", download.target());
    }
    for clash in plan.clashes() {
        assert!(!clash.problem().contains(is_hidden));
    }
}

/// Checks that a target is below the output directory, and that it can be created and printed.
pub fn check_target(target: &Target) {
    let target = target.as_str();
    assert!(!target.contains(|c| is_hidden(c) || "\\<>:\"|?*".contains(c)), "{target:?}");
    for name in target.split('/') {
        assert!(!name.is_empty() && name.len() <= 255, "{target:?}");
        assert!(!name.ends_with(['.', ' ']), "{target:?}");
    }
}
