//! Whatever a URL's last part decodes to: nothing outside the directory, nothing unprintable in it.

use crate::command::{fetch, names};
use crate::server::Server;

#[test]
fn hostile_names_stay_in_the_directory_and_can_be_printed() {
    let server = Server::echo();
    let long = "x".repeat(400);
    let paths = [
        "/%2e%2e%2f%2e%2e%2fx",
        "/..%2f..%2f",
        "/%2e%2e",
        "/a%2f..%2f..%2fb",
        "/%5c%5chost%5cshare",
        "/C%3A%5Cx",
        "/%00",
        "/a%00b",
        "/%1b%5b2J%1b%5d0%3btitle%07",
        "/%c2%9b31m",
        &format!("/{long}.txt"),
        "/%e2%80%aegpj.exe",
        "/%e2%81%a6x%e2%81%a9",
        "/CON",
        "/x.",
        "/%20",
        "/%ff%fe",
    ];
    for mode in ["--sequential", "--jobs=8"] {
        let mut tdl = fetch().args(paths.iter().map(|path| server.url(path))).args([mode, "--progress", "plain"]);
        let ended = tdl.run().with(0);
        assert_eq!(names(tdl.dir.path()), ["out"]);
        assert_eq!(tdl.names().len(), paths.len(), "{:?}", tdl.names());
        let hidden = |c: char| {
            c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)
        };
        for name in tdl.names() {
            assert!(!name.contains(hidden) && name.len() <= 245, "{name:?}");
        }
        let shown = ended.stdout + &ended.stderr;
        assert!(!shown.replace('\n', "").contains(hidden), "{shown:?}");
    }
}

#[test]
fn part_files_of_one_download_are_no_targets_of_another() {
    let server = Server::echo();
    let mut tdl = fetch().args(["/x", "/x.part", "/X", "/x.part.json"].map(|path| server.url(path)));
    tdl.run().with(0);
    // X-2 is not free: its part file would be x-2.part, where case does not count.
    assert_eq!(tdl.names(), ["X-3", "x", "x-2.part", "x.part-2.json"]);
    assert_eq!(tdl.got("x"), b"/x");
}

#[test]
fn a_chosen_name_is_used() {
    let server = Server::echo();
    let mut tdl = fetch().args([&server.url("/long/name?x"), "-O", "short.txt"]);
    tdl.run().with(0);
    assert_eq!(tdl.names(), ["short.txt"]);
}
