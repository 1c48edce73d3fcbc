//! When a part file is kept and when it is discarded: only after several responses that cannot continue it, but soon
//! enough that it never blocks the download.

use std::fs;
use std::time::Duration;

use crate::command::{Tdl, content, fetch_in};
use crate::mode::{Mode, in_both_modes};
use crate::server::{Reply, Request, Server};

const LENGTH: usize = 200_000;
const CUT: usize = 120_000;
const TAG: &str = "\"one\"";

fn body() -> Vec<u8> {
    content(1, LENGTH)
}

fn ranges(server: &Server) -> Vec<bool> {
    server.requests().iter().map(|request| request.header("range").is_some()).collect()
}

/// A run that leaves the first `CUT` bytes of `/x` in a part file, and its server, which responds to later requests
/// with `then`.
fn interrupted(mode: Mode, then: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> (Tdl, Server) {
    let server = Server::start(move |request| match request.number {
        0 => Reply::file(request, &body(), TAG).cut_after(CUT),
        _ => then(request),
    });
    let mut tdl = fetch_in(mode).args([&server.url("/x"), "--retries", "0"]);
    tdl.run().assert_code(75);
    assert_eq!(tdl.names(), ["x.part", "x.part.json"]);
    (tdl, server)
}

/// Whether the part file still has exactly the bytes of the first run.
fn is_kept(tdl: &Tdl) -> bool {
    let sidecar = fs::read_to_string(tdl.out().join("x.part.json")).unwrap_or_default();
    tdl.names() == ["x.part", "x.part.json"]
        && tdl.read("x.part")[..] == body()[..CUT]
        && sidecar.contains(&format!("\"done\":[[0,{CUT}]]"))
}

in_both_modes!(the_whole_file_is_requested_when_every_range_fails);
fn the_whole_file_is_requested_when_every_range_fails(mode: Mode) {
    type Respond = fn(&Request) -> Reply;
    let failures: [(&str, Respond); 9] = [
        ("500", |_| Reply::status(500)),
        ("503", |_| Reply::status(503)),
        ("close", |_| Reply::raw("")),
        ("close after the head", |request| Reply::file(request, &body(), TAG).cut_after(0)),
        ("half a head", |_| Reply::raw("HTTP/1.1 206 Part")),
        ("stall", |_| Reply::status(206).after(Duration::from_secs(20))),
        ("garbage", |_| Reply::raw("garbage")),
        ("an invalid chunk", |_| {
            let head =
                format!("HTTP/1.1 206 Partial\r\nETag: {TAG}\r\nContent-Range: bytes {CUT}-{}/{LENGTH}", LENGTH - 1);
            Reply::raw(format!("{head}\r\nTransfer-Encoding: chunked\r\n\r\nwhat?\r\n"))
        }),
        ("redirected to ftp", |_| Reply::redirect("ftp://127.0.0.1/x")),
    ];
    std::thread::scope(|scope| {
        for (which, failure) in failures {
            scope.spawn(move || {
                let (tdl, server) = interrupted(mode, move |request| match request.header("range") {
                    Some(_) => failure(request),
                    None => Reply::file(request, &body(), TAG),
                });
                // Short only where a stall is tested: on a busy machine a response may take 500 ms.
                let timeout = if which == "stall" { "--stall-timeout=500ms" } else { "--stall-timeout=20s" };
                tdl.rerun(&[&server.url("/x"), timeout]).assert_code(0);
                assert!(tdl.read("x") == body(), "{which}");
                assert_eq!(tdl.names(), ["x"], "{which}");
                let whole = ranges(&server)[1..].iter().filter(|is_range| !**is_range).count();
                assert_eq!(whole, 1, "{which}");
            });
        }
    });
}

in_both_modes!(failed_range_requests_are_counted_across_runs);
fn failed_range_requests_are_counted_across_runs(mode: Mode) {
    for (retries, runs) in [(0, 3), (1, 2)] {
        let (tdl, server) = interrupted(mode, move |request| match (request.header("range"), request.number % 2) {
            (Some(_), 0) => Reply::status(500),
            (Some(_), _) => Reply::file(request, &body(), TAG).cut_after(0),
            (None, _) => Reply::file(request, &body(), TAG),
        });
        let retries = format!("--retries={retries}");
        for run in 1..=runs {
            tdl.rerun(&[&server.url("/x"), &retries]).assert_code(if run < runs { 75 } else { 0 });
        }
        assert_eq!((tdl.names(), tdl.read("x") == body()), (vec!["x".to_owned()], true));
        assert_eq!(ranges(&server).iter().filter(|is_range| !**is_range).count(), 2);
    }
}

in_both_modes!(unusable_responses_are_counted_across_runs);
fn unusable_responses_are_counted_across_runs(mode: Mode) {
    let (tdl, server) = interrupted(mode, |request| match request.header("range") {
        Some(_) => Reply::rest(&body(), CUT),
        None => Reply::file(request, &body(), TAG),
    });
    tdl.rerun(&[&server.url("/x"), "--retries=0"]).assert_code(75);
    tdl.rerun(&[&server.url("/x"), "--retries=0"]).assert_code(0);
    assert_eq!((tdl.names(), tdl.read("x") == body()), (vec!["x".to_owned()], true));
}

in_both_modes!(a_long_part_of_an_old_version_does_not_block_the_new_version);
fn a_long_part_of_an_old_version_does_not_block_the_new_version(mode: Mode) {
    // Ranges of the new version work, but each response is shorter than the part of the old one.
    for retries in ["--retries=0", "--retries=1"] {
        let (tdl, server) =
            interrupted(mode, |request| Reply::file(request, &content(2, LENGTH), "\"two\"").cut_after(LENGTH / 4));
        let mut runs = 0;
        while tdl.names() != ["x"] {
            runs += 1;
            assert!(runs < 8, "the file never arrives");
            tdl.rerun(&[&server.url("/x"), retries]);
        }
        assert!(tdl.read("x") == content(2, LENGTH));
    }
}

in_both_modes!(anything_at_the_name_of_the_second_part_file_is_handled);
fn anything_at_the_name_of_the_second_part_file_is_handled(mode: Mode) {
    for (kind, kept) in [("empty", false), ("foreign", true), ("directory", false)] {
        let (tdl, server) = interrupted(mode, |request| match request.header("range") {
            Some(_) => Reply::status(404),
            None => Reply::file(request, &body(), TAG),
        });
        let second = tdl.out().join("x.part.new");
        match kind {
            "empty" => fs::write(&second, "").unwrap(),
            "foreign" => fs::write(&second, "the user's").unwrap(),
            _ => fs::create_dir(&second).unwrap(),
        }
        tdl.rerun(&[&server.url("/x"), "--retries=0"]).assert_code(0);
        assert!(tdl.read("x") == body(), "{kind}");
        let mut names = vec!["x"];
        names.extend(kept.then_some("x.part.new.kept"));
        names.extend((kind == "directory").then_some("x.part.new"));
        assert_eq!(tdl.names(), names, "{kind}");
    }
}

in_both_modes!(a_part_file_is_kept_while_the_whole_file_is_requested);
fn a_part_file_is_kept_while_the_whole_file_is_requested(mode: Mode) {
    // Every range fails and the whole file is cut; in the second round a range then succeeds.
    for comes in [false, true] {
        let (tdl, server) = interrupted(mode, move |request| match request.header("range") {
            Some(_) if request.number > 3 && comes => Reply::file(request, &body(), TAG),
            Some(_) => Reply::status(500),
            None => Reply::file(request, &body(), TAG).cut_after(70_000),
        });
        let output = tdl.rerun(&[&server.url("/x"), "--retries=3"]).assert_code(if comes { 0 } else { 75 });
        assert_eq!(ranges(&server), [false, true, true, false, true], "{}", output.stderr);
        if comes {
            assert_eq!((tdl.names(), tdl.read("x") == body()), (vec!["x".to_owned()], true));
        } else {
            assert!(is_kept(&tdl), "{:?}", tdl.names());
        }
    }
}

in_both_modes!(the_third_unusable_response_in_a_row_starts_over);
fn the_third_unusable_response_in_a_row_starts_over(mode: Mode) {
    // Each response is from a different version, and shorter than the part file.
    let (tdl, server) = interrupted(mode, |request| {
        let tag = format!("\"{}\"", request.number);
        Reply::file(request, &content(request.number, LENGTH), &tag).cut_after(50_000)
    });
    tdl.rerun(&[&server.url("/x"), "--retries=1"]).assert_code(75);
    assert!(is_kept(&tdl), "{:?}", tdl.names());
    tdl.rerun(&[&server.url("/x"), "--retries=2"]).assert_code(75);
    assert_eq!(tdl.read("x.part").len(), 50_000);
    assert!(!is_kept(&tdl));
}

in_both_modes!(a_part_file_is_kept_until_other_bytes_replace_it);
fn a_part_file_is_kept_until_other_bytes_replace_it(mode: Mode) {
    // Three unusable responses, then only errors.
    let (tdl, server) = interrupted(mode, |request| match request.number {
        ..4 => match request.header("range") {
            Some(_) => Reply::rest(&body(), CUT - 1).header("ETag", TAG),
            None => Reply::file(request, &body(), TAG).cut_after(10),
        },
        _ => Reply::status(503),
    });
    tdl.rerun(&[&server.url("/x"), "--retries=4"]).assert_code(75);
    assert!(is_kept(&tdl), "{:?}", tdl.names());
}

in_both_modes!(the_longer_part_of_two_versions_is_resumed);
fn the_longer_part_of_two_versions_is_resumed(mode: Mode) {
    // The file has changed, and each response is longer than the part of the old version.
    let (tdl, server) = interrupted(mode, |request| {
        let reply = Reply::file(request, &content(2, LENGTH), "\"two\"");
        if request.header("range").is_some() && request.header("if-range") == Some("\"two\"") {
            reply
        } else {
            reply.cut_after(CUT + 10_000)
        }
    });
    tdl.rerun(&[&server.url("/x"), "--retries=0"]).assert_code(75);
    tdl.rerun(&[&server.url("/x"), "--retries=0"]).assert_code(0);
    assert_eq!((tdl.names(), tdl.read("x") == content(2, LENGTH)), (vec!["x".to_owned()], true));
    assert_eq!(server.requests().last().unwrap().header("range"), Some("bytes=130000-"));
}

in_both_modes!(a_reused_connection_that_closes_costs_no_attempt);
fn a_reused_connection_that_closes_costs_no_attempt(mode: Mode) {
    const FILES: usize = 60;
    let server = Server::start(|request| match request.on_connection {
        0 => Reply::ok(request.target.clone()),
        _ => Reply::raw(""),
    });
    let urls = (0..FILES).map(|number| server.url(&format!("/{number}")));
    let mut tdl = fetch_in(mode).args(urls).args(["--retries", "0"]);
    tdl.run().assert_code(0);
    assert_eq!(tdl.names().len(), FILES);
}

in_both_modes!(a_new_version_replaces_the_part_of_an_old_one);
fn a_new_version_replaces_the_part_of_an_old_one(mode: Mode) {
    let (tdl, server) = interrupted(mode, |request| Reply::file(request, &content(2, LENGTH), "\"two\""));
    tdl.rerun(&[&server.url("/x")]).assert_code(0);
    assert_eq!((tdl.names(), tdl.read("x") == content(2, LENGTH)), (vec!["x".to_owned()], true));
    // The 200 could be the rest of the new version: some servers send a rest that way.
    assert_eq!(ranges(&server), [false, true, false]);
}

in_both_modes!(leftovers_of_a_killed_request_for_the_whole_file_are_removed);
fn leftovers_of_a_killed_request_for_the_whole_file_are_removed(mode: Mode) {
    let (tdl, server) = interrupted(mode, |request| Reply::file(request, &body(), TAG));
    let sidecar = fs::read_to_string(tdl.out().join("x.part.json")).unwrap();
    fs::write(tdl.out().join("x.part.new"), &body()[..1000]).unwrap();
    fs::write(tdl.out().join("x.part.new.json"), sidecar).unwrap();
    tdl.rerun(&[&server.url("/x")]).assert_code(0);
    assert_eq!((tdl.names(), tdl.read("x") == body()), (vec!["x".to_owned()], true));
}

in_both_modes!(redirects_to_differing_mirrors_keep_the_part_file);
fn redirects_to_differing_mirrors_keep_the_part_file(mode: Mode) {
    const FILES: usize = 12;
    const MIRRORS: usize = 3;
    // Each response is cut at 40 %, and each mirror has its own tags.
    let server = Server::start(|request| match request.target.strip_prefix("/file") {
        Some(number) => Reply::redirect(format!("/mirror{}/{number}", fastrand::usize(..MIRRORS))),
        None => {
            let (mirror, number) = request.target["/mirror".len()..].split_once('/').unwrap();
            let file = content(number.parse().unwrap(), LENGTH);
            Reply::file(request, &file, &format!("\"{mirror}\"")).cut_after(LENGTH * 2 / 5)
        }
    });
    let urls = (0..FILES).map(|number| server.url(&format!("/file{number}")));
    let mut tdl = fetch_in(mode).args(urls);
    tdl.run().assert_code(0);
    for number in 0..FILES {
        assert!(tdl.read(&format!("file{number}")) == content(number, LENGTH), "{number}");
    }
}

in_both_modes!(an_expired_signed_url_is_renewed_through_the_redirect);
fn an_expired_signed_url_is_renewed_through_the_redirect(mode: Mode) {
    let server = Server::start(|request| match request.target.as_str() {
        "/x" => Reply::redirect(format!("/signed?X-Amz-Signature={}", request.number)),
        "/signed?X-Amz-Signature=0" if request.header("range").is_some() => Reply::status(403),
        "/signed?X-Amz-Signature=0" => Reply::file(request, &body(), TAG).cut_after(CUT),
        _ => Reply::file(request, &body(), TAG),
    });
    let mut tdl = fetch_in(mode).arg(server.url("/x"));
    tdl.run().assert_code(0);
    assert!(tdl.read("x") == body());
    assert_eq!(ranges(&server), [false, false, true, true, true]);
}

in_both_modes!(discarded_bytes_do_not_count_as_progress);
fn discarded_bytes_do_not_count_as_progress(mode: Mode) {
    // Without a validator, each response is cut one byte later than the last.
    let server = Server::start(|request| Reply::ok(body()).cut_after(100_000 + request.number));
    let mut tdl = fetch_in(mode).args([&server.url("/x"), "--retries", "2"]);
    tdl.run().assert_code(75);
    assert_eq!(server.requests().len(), 3);
    assert!(tdl.names().is_empty());
}

in_both_modes!(a_limit_on_the_length_keeps_the_part_file);
fn a_limit_on_the_length_keeps_the_part_file(mode: Mode) {
    let (tdl, server) = interrupted(mode, |request| Reply::file(request, &body(), TAG));
    tdl.rerun(&[&server.url("/x"), "--max-filesize=150k"]).assert_code(1);
    assert!(is_kept(&tdl), "{:?}", tdl.names());
    tdl.rerun(&[&server.url("/x")]).assert_code(0);
    assert_eq!((tdl.names(), tdl.read("x") == body()), (vec!["x".to_owned()], true));
}
