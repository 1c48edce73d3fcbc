//! File names made from URLs: always inside the output directory, printable and distinct.

use crate::command::{content, fetch, fetch_in, names};
use crate::mode::{Mode, in_both_modes};
use crate::server::{Reply, Server};

in_both_modes!(hostile_names_stay_in_the_directory_and_are_printable);
fn hostile_names_stay_in_the_directory_and_are_printable(mode: Mode) {
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
    let mut tdl = fetch_in(mode).args(paths.iter().map(|path| server.url(path))).args(["--jobs=8", "--progress=plain"]);
    let output = tdl.run().assert_code(0);
    assert_eq!(names(tdl.dir.path()), ["out"]);
    assert_eq!(tdl.names().len(), paths.len(), "{:?}", tdl.names());
    let hidden =
        |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
    for name in tdl.names() {
        assert!(!name.contains(hidden) && name.len() <= 225, "{name:?}");
    }
    let shown = output.stdout + &output.stderr;
    assert!(!shown.replace('\n', "").contains(hidden), "{shown:?}");
}

#[test]
fn a_part_file_and_a_target_never_share_a_name() {
    let server = Server::echo();
    let mut tdl = fetch().args(["/x", "/x.part", "/X", "/x.part.json"].map(|path| server.url(path)));
    tdl.run().assert_code(0);
    assert_eq!(tdl.names(), ["X-2", "x", "x.part.json_", "x.part_"]);
    assert_eq!((tdl.read("x"), tdl.read("x.part_")), (b"/x".to_vec(), b"/x.part".to_vec()));
}

#[test]
fn a_part_file_is_not_mistaken_for_the_target_of_its_name() {
    let server = Server::start(|request| match request.target.as_str() {
        "/x" => Reply::file(request, &content(1, 200_000), "\"one\"").cut_after(100_000),
        target => Reply::ok(target),
    });
    for arguments in [&[][..], &["-O", "x.part"]] {
        let mut tdl = fetch().args([&server.url("/x"), "--retries=0"]);
        tdl.run().assert_code(75);
        assert_eq!(tdl.names(), ["x.part", "x.part.json"]);
        let output = tdl.rerun(&[&[server.url("/x.part").as_str()], arguments].concat()).assert_code(0);
        assert!(!output.stderr.contains("skipped"), "{}", output.stderr);
        assert_eq!(tdl.names(), ["x.part", "x.part.json", "x.part_"]);
        assert_eq!(tdl.read("x.part_"), b"/x.part");
    }
}

#[test]
fn a_name_given_with_o_is_used() {
    let server = Server::echo();
    let mut tdl = fetch().args([&server.url("/long/name?x"), "-O", "short.txt"]);
    tdl.run().assert_code(0);
    assert_eq!(tdl.names(), ["short.txt"]);
}
