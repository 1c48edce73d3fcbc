//! Resuming within a run and across runs: only with a validator, and only with the exact rest.

use std::fs;
use std::sync::Arc;

use crate::command::{Tdl, bytes_written, content, fetch_in, wait_for};
use crate::mode::{Mode, in_both_modes};
use crate::server::{Gate, Reply, Request, Server};

const LENGTH: usize = 200_000;
const TAG: &str = "\"one\"";
const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn body() -> Vec<u8> {
    content(1, LENGTH)
}

/// The `Range` of each request.
fn ranges(server: &Server) -> Vec<Option<String>> {
    server.requests().iter().map(|request| request.header("range").map(ToOwned::to_owned)).collect()
}

/// A server that cuts its first response after 120,000 bytes and answers later requests by `then`.
fn cuts_once(then: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |request| match request.number {
        0 => Reply::file(request, &body(), TAG).cut_after(120_000),
        _ => then(request),
    })
}

/// A run that leaves 120,000 bytes of `/x` in a part file.
fn interrupted(mode: Mode, server: &Server) -> Tdl {
    let mut tdl = fetch_in(mode).args([&server.url("/x"), "--retries", "0"]);
    tdl.run().assert_code(75);
    assert_eq!(tdl.names(), ["x.part", "x.part.json"]);
    tdl
}

in_both_modes!(a_truncated_download_requests_the_rest_within_and_across_runs);
fn a_truncated_download_requests_the_rest_within_and_across_runs(mode: Mode) {
    let server = cuts_once(|request| Reply::file(request, &body(), TAG));
    let mut tdl = fetch_in(mode).arg(server.url("/x"));
    tdl.run().assert_code(0);
    assert_eq!(ranges(&server), [None, Some("bytes=120000-".to_owned())]);
    assert_eq!((tdl.names(), tdl.read("x") == body()), (vec!["x".to_owned()], true));

    let server = cuts_once(|request| Reply::file(request, &body(), TAG));
    let mut tdl = interrupted(mode, &server);
    tdl.run().assert_code(0);
    let requests = server.requests();
    assert_eq!((requests[1].header("range"), requests[1].header("if-range")), (Some("bytes=120000-"), Some(TAG)));
    assert_eq!((tdl.names(), tdl.read("x") == body()), (vec!["x".to_owned()], true));
}

in_both_modes!(only_an_old_modification_date_is_a_validator_without_a_strong_tag);
fn only_an_old_modification_date_is_a_validator_without_a_strong_tag(mode: Mode) {
    for (headers, proof) in [
        (vec![("Last-Modified", OLD), ("Date", "Sun, 06 Nov 1994 08:50:37 GMT")], Some(OLD)),
        (vec![("Last-Modified", OLD), ("Date", "Sun, 06 Nov 1994 08:50:00 GMT")], None),
        (vec![("ETag", "W/\"weak\"")], None),
        (vec![], None),
    ] {
        let server = Server::start(move |request| {
            let reply = match request.header("range") {
                Some(_) => Reply::rest(&body(), 120_000),
                None if request.number == 0 => Reply::ok(body()).cut_after(120_000),
                None => Reply::ok(body()),
            };
            headers.iter().fold(reply, |reply, (name, value)| reply.header(name, *value))
        });
        let mut tdl = fetch_in(mode).arg(server.url("/x"));
        tdl.run().assert_code(0);
        assert_eq!(server.requests()[1].header("if-range"), proof);
        assert_eq!((tdl.names(), tdl.read("x") == body()), (vec!["x".to_owned()], true));
    }
}

in_both_modes!(a_partial_response_that_is_not_the_exact_rest_starts_over);
fn a_partial_response_that_is_not_the_exact_rest_starts_over(mode: Mode) {
    let rest = |range: &str| {
        let range = range.to_owned();
        move |_: &Request| Reply::rest(&body(), 120_000).without("Content-Range").header("Content-Range", range.clone())
    };
    type Respond = Box<dyn Fn(&Request) -> Reply + Send + Sync>;
    let lies: Vec<(&str, Respond)> = vec![
        ("starts at another offset", Box::new(|_| Reply::rest(&body(), 119_999))),
        ("has a Content-Range with another start", Box::new(rest("bytes 0-79999/200000"))),
        ("has another total", Box::new(rest("bytes 120000-199999/200001"))),
        ("is longer than its range", Box::new(rest("bytes 120000-199998/200000"))),
        ("is of another file", Box::new(|_| Reply::rest(&body(), 120_000).header("ETag", "\"two\""))),
        ("has two tags", Box::new(|_| Reply::rest(&body(), 120_000).header("ETag", TAG).header("ETag", "\"two\""))),
        ("has another content coding", Box::new(|_| Reply::rest(&body(), 120_000).header("Content-Encoding", "gzip"))),
        ("has a weak tag", Box::new(|_| Reply::rest(&body(), 120_000).header("ETag", "W/\"one\""))),
        ("has no Content-Range", Box::new(|_| Reply::rest(&body(), 120_000).without("Content-Range"))),
        (
            "has two Content-Ranges",
            Box::new(|_| Reply::rest(&body(), 120_000).header("Content-Range", "bytes 0-1/200000")),
        ),
        ("has a malformed Content-Range", Box::new(rest("bytes lots/many"))),
        (
            "is chunked and too long",
            Box::new(|_| {
                let long = [&body()[120_000..], b"more"].concat();
                let range = "bytes 120000-199999/200000";
                Reply::partial(long).header("Content-Range", range).chunked()
            }),
        ),
        ("is a 416 with another length", Box::new(|_| Reply::status(416).header("Content-Range", "bytes */7"))),
        ("is a 416 without a length", Box::new(|_| Reply::status(416))),
    ];
    let assert_starts_over = |lie: &str, respond: Respond| {
        let server = cuts_once(move |request| match request.header("range") {
            Some(_) => respond(request),
            None => Reply::file(request, &body(), TAG),
        });
        let mut tdl = fetch_in(mode).arg(server.url("/x"));
        let output = tdl.run().assert_code(0);
        assert_eq!(ranges(&server), [None, Some("bytes=120000-".to_owned()), None], "{lie}");
        assert!(output.stderr.contains("the response cannot be used: "), "{lie}: {}", output.stderr);
        assert_eq!((tdl.names(), tdl.read("x") == body()), (vec!["x".to_owned()], true), "{lie}");
    };
    // Concurrently, as each waits for its retries.
    std::thread::scope(|scope| {
        for (lie, respond) in lies {
            scope.spawn(move || assert_starts_over(lie, respond));
        }
    });
}

in_both_modes!(a_rest_that_is_truncated_again_is_resumed);
fn a_rest_that_is_truncated_again_is_resumed(mode: Mode) {
    let server = Server::start(|request| match request.number {
        0..5 => Reply::file(request, &body(), TAG).cut_after(30_000),
        _ => Reply::file(request, &body(), TAG),
    });
    // Each attempt makes progress, so one retry in a row is enough.
    let mut tdl = fetch_in(mode).args([&server.url("/x"), "--retries", "1"]);
    tdl.run().assert_code(0);
    let asked: Vec<_> = (1..=5).map(|cuts| Some(format!("bytes={}-", cuts * 30_000))).collect();
    assert_eq!(ranges(&server)[1..], asked);
    assert!(tdl.read("x") == body());
}

in_both_modes!(a_range_shorter_than_requested_is_continued_at_once);
fn a_range_shorter_than_requested_is_continued_at_once(mode: Mode) {
    let server = cuts_once(|request| {
        let (from, to) = request.range(LENGTH).unwrap();
        Reply::part(&body(), from, to.min(from + 10_000)).header("ETag", TAG)
    });
    // Only the first response counts as a failure.
    let mut tdl = fetch_in(mode).args([&server.url("/x"), "--retries", "1"]);
    let output = tdl.run().assert_code(0);
    assert_eq!(output.stderr.matches("retrying").count(), 1, "{}", output.stderr);
    assert_eq!((server.requests().len(), tdl.read("x") == body()), (9, true));
}

in_both_modes!(a_changed_file_is_fetched_again);
fn a_changed_file_is_fetched_again(mode: Mode) {
    let server = cuts_once(|request| Reply::file(request, b"the new version", "\"two\""));
    let mut tdl = fetch_in(mode).arg(server.url("/x"));
    tdl.run().assert_code(0);
    assert_eq!((tdl.names(), tdl.read("x")), (vec!["x".to_owned()], b"the new version".to_vec()));
}

in_both_modes!(a_complete_part_file_is_committed);
fn a_complete_part_file_is_committed(mode: Mode) {
    let server = cuts_once(|request| Reply::file(request, &body(), TAG));
    let mut tdl = interrupted(mode, &server);
    // As after a kill between the last checkpoint and the rename.
    fs::write(tdl.out().join("x.part"), body()).unwrap();
    let sidecar = fs::read_to_string(tdl.out().join("x.part.json")).unwrap();
    fs::write(tdl.out().join("x.part.json"), sidecar.replace("120000", "200000")).unwrap();
    tdl.run().assert_code(0);
    assert_eq!(ranges(&server)[1..], [Some("bytes=200000-".to_owned())]);
    assert_eq!((tdl.names(), tdl.read("x") == body()), (vec!["x".to_owned()], true));
}

in_both_modes!(a_part_of_another_url_or_without_a_valid_sidecar_is_started_over_with_a_reason);
fn a_part_of_another_url_or_without_a_valid_sidecar_is_started_over_with_a_reason(mode: Mode) {
    for (change, why) in [
        ("other url", "/x: starting over: the partial download is from a different URL"),
        ("other query", ": starting over: the partial download is from a different URL"),
        ("damaged", "warning: out/x.part is not tdl's; moved to out/x.part.kept"),
        ("newer", "/x: starting over: the partial download was left by a newer version of tdl"),
        ("shorter part", "/x: starting over: the sidecar of the partial download is damaged"),
    ] {
        let server = cuts_once(|request| Reply::file(request, &body(), TAG));
        let tdl = interrupted(mode, &server);
        let (part, sidecar) = (tdl.out().join("x.part"), tdl.out().join("x.part.json"));
        let text = fs::read_to_string(&sidecar).unwrap();
        match change {
            "damaged" => fs::write(&sidecar, &text[..text.len() / 2]).unwrap(),
            "newer" => fs::write(&sidecar, text.replace("\"version\":1", "\"version\":2")).unwrap(),
            "shorter part" => fs::write(&part, &body()[..119_999]).unwrap(),
            _ => {}
        }
        let path = match change {
            "other url" => "/other/x",
            "other query" => "/x?version=2",
            _ => "/x",
        };
        let output = tdl.rerun(&[&server.url(path)]).assert_code(0);
        assert!(output.stderr.contains(&format!("{why}\n")), "{change}: {}", output.stderr);
        assert_eq!(ranges(&server), [None, None], "{change}");
        let names = tdl.names();
        let kept: &[_] = if change == "damaged" { &["x.part.json.kept", "x.part.kept"] } else { &[] };
        assert_eq!(
            (&names[0], &names[1..]),
            (&"x".to_owned(), &kept.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
        );
        assert!(tdl.read("x") == body(), "{change}");
    }
}

const OURS: &str = r#"{"version":1,"url":"http://h/x","validator":null,"length":null,"done":[]}"#;

in_both_modes!(a_foreign_file_with_a_sidecars_name_is_kept);
fn a_foreign_file_with_a_sidecars_name_is_kept(mode: Mode) {
    let server = Server::start(|request| match request.target.as_str() {
        "/large" => Reply::ok(body()),
        target => Reply::ok(target),
    });
    let mut tdl = fetch_in(mode).args(["/x", "/there", "/large"].map(|path| server.url(path))).file("out/there", "");
    for name in ["x", "there", "large"] {
        tdl = tdl.file(&format!("out/{name}.part.json"), "mine");
    }
    tdl.run().assert_code(0);
    assert_eq!(tdl.names(), ["large", "large.part.json.kept", "there", "there.part.json", "x", "x.part.json"]);
}

in_both_modes!(a_truncated_small_file_is_resumed);
fn a_truncated_small_file_is_resumed(mode: Mode) {
    let small = || content(3, 60_000);
    let server = Server::start(move |request| Reply::file(request, &small(), TAG).cut_after(25_000));
    let mut tdl = fetch_in(mode).args([&server.url("/x"), "--retries", "1"]);
    tdl.run().assert_code(0);
    assert_eq!(ranges(&server)[1..], [Some("bytes=25000-".to_owned()), Some("bytes=50000-".to_owned())]);
    assert_eq!((tdl.names(), tdl.read("x") == small()), (vec!["x".to_owned()], true));
}

in_both_modes!(a_sidecar_without_its_part_file_is_removed);
fn a_sidecar_without_its_part_file_is_removed(mode: Mode) {
    let server = Server::echo();
    let mut tdl = fetch_in(mode).args([server.url("/x"), server.url("/there")]).file("out/x.part.json", OURS);
    tdl = tdl.file("out/there", "").file("out/there.part.json", OURS).file("out/there.part.tmp", OURS);
    tdl.run().assert_code(0);
    assert_eq!(tdl.names(), ["there", "x"]);
}

in_both_modes!(after_a_kill_all_but_the_last_checkpoint_interval_is_resumed);
fn after_a_kill_all_but_the_last_checkpoint_interval_is_resumed(mode: Mode) {
    let long = || content(2, 800_000);
    let gates = [Arc::new(Gate::default()), Arc::new(Gate::default())];
    let held = gates.clone();
    let server = Server::start(move |request| match request.number {
        0 => Reply::file(request, &long(), TAG).held_after(200_000, &held[0]).held_after(600_000, &held[1]),
        _ => Reply::file(request, &long(), TAG),
    });
    // A second connection would fetch what the first one holds back.
    let mut tdl = fetch_in(mode).args([&server.url("/x"), "--no-split"]);
    let mut child = tdl.spawn();
    let claimed = || {
        let text = fs::read_to_string(tdl.out().join("x.part.json")).unwrap_or_default();
        let done = text.split("\"done\":[[0,").nth(1)?;
        done.split(']').next()?.parse::<usize>().ok()
    };
    wait_for(|| claimed().is_some());
    // Until the next checkpoint more is written than the sidecar claims.
    gates[0].open();
    wait_for(|| bytes_written(&tdl.out().join("x.part")) > 200_000);
    child.kill().unwrap();
    child.wait().unwrap();
    gates[1].open();
    let claimed = claimed().unwrap();
    let on_disk = bytes_written(&tdl.out().join("x.part"));
    assert!(claimed > 0 && claimed <= on_disk, "{claimed} of {on_disk}");
    tdl.run().assert_code(0);
    assert_eq!(ranges(&server)[1..], [Some(format!("bytes={claimed}-"))]);
    assert_eq!((tdl.names(), tdl.read("x") == long()), (vec!["x".to_owned()], true));
}

/// A server that redirects `/x` first to `/v1`, whose response is cut, and later to `/v2`, with the same validators.
fn redirects_to_another_file(headers: &'static [&'static str]) -> Server {
    let other = content(9, LENGTH);
    Server::start(move |request| {
        let from = |body: &[u8]| match request.header("range") {
            Some(_) => Reply::rest(body, 120_000),
            None => Reply::ok(body),
        };
        let marked = |reply: Reply| {
            let value = |name: &str| match name {
                "ETag" => TAG,
                "Date" => "Sun, 06 Nov 1994 09:49:37 GMT",
                _ => OLD,
            };
            headers.iter().fold(reply, |reply, name| reply.header(name, value(name)))
        };
        match request.target.as_str() {
            "/x" if request.number == 0 => Reply::redirect("/v1"),
            "/x" => Reply::redirect("/v2"),
            "/v1" => marked(from(&body())).cut_after(120_000),
            _ => marked(from(&other)),
        }
    })
}

in_both_modes!(a_redirect_to_another_file_is_not_resumed);
fn a_redirect_to_another_file_is_not_resumed(mode: Mode) {
    // An ETag is unique per URL only: two files may have the same one.
    for headers in [&["ETag"][..], &["Last-Modified", "Date"]] {
        let server = redirects_to_another_file(headers);
        let tdl = interrupted(mode, &server);
        let output = tdl.rerun(&[&server.url("/x")]).assert_code(0);
        assert!(
            output.stderr.contains("its ETag, Last-Modified, Content-Encoding or URL has changed"),
            "{}",
            output.stderr
        );
        assert_eq!((tdl.names(), tdl.read("x") == content(9, LENGTH)), (vec!["x".to_owned()], true));
    }
}

in_both_modes!(within_a_run_the_rest_is_requested_from_the_same_mirror);
fn within_a_run_the_rest_is_requested_from_the_same_mirror(mode: Mode) {
    for headers in [&["ETag"][..], &["Last-Modified", "Date"]] {
        let server = redirects_to_another_file(headers);
        let mut tdl = fetch_in(mode).arg(server.url("/x"));
        tdl.run().assert_code(0);
        assert_eq!(server.targets(), ["/v1", "/v1", "/x"]);
        assert_eq!((tdl.names(), tdl.read("x") == body()), (vec!["x".to_owned()], true));
    }
}

in_both_modes!(a_server_that_refuses_ranges_is_asked_for_the_whole_file);
fn a_server_that_refuses_ranges_is_asked_for_the_whole_file(mode: Mode) {
    for status in [400, 403, 501, 204, 304] {
        let server = cuts_once(move |request| match request.header("range") {
            Some(_) if [204, 304].contains(&status) => Reply::raw(format!("HTTP/1.1 {status} X\r\n\r\n")),
            Some(_) => Reply::status(status),
            None => Reply::file(request, &body(), TAG),
        });
        let tdl = interrupted(mode, &server);
        tdl.rerun(&[&server.url("/x")]).assert_code(0);
        assert_eq!((tdl.names(), tdl.read("x") == body()), (vec!["x".to_owned()], true), "{status}");
    }
}

in_both_modes!(bytes_before_a_stall_survive_a_kill);
fn bytes_before_a_stall_survive_a_kill(mode: Mode) {
    for at in [50_000, 120_000] {
        let server = Server::start(move |request| match request.number {
            0 => Reply::file(request, &body(), TAG).stall_after(at),
            _ => Reply::file(request, &body(), TAG),
        });
        // A second connection would fetch the rest.
        let mut tdl = fetch_in(mode).args([&server.url("/x"), "--no-split"]);
        let mut child = tdl.spawn();
        let claims = || fs::read_to_string(tdl.out().join("x.part.json")).unwrap_or_default();
        wait_for(|| claims().contains(&format!("\"done\":[[0,{at}]]")));
        child.kill().unwrap();
        child.wait().unwrap();
        tdl.run().assert_code(0);
        assert_eq!(ranges(&server)[1..], [Some(format!("bytes={at}-"))]);
        assert_eq!((tdl.names(), tdl.read("x") == body()), (vec!["x".to_owned()], true));
    }
}

in_both_modes!(headers_too_long_for_a_sidecar_are_no_validator);
fn headers_too_long_for_a_sidecar_are_no_validator(mode: Mode) {
    // Each value is allowed by itself, but together they exceed the limit of a sidecar.
    for (value, count) in [(9000, 1), (20_000, 15)] {
        let server = Server::start(move |request| {
            let reply = if request.number < 3 { Reply::ok(body()).cut_after(120_000) } else { Reply::ok(body()) };
            (0..count).fold(reply.header("ETag", TAG), |reply, _| reply.header("Last-Modified", "x".repeat(value)))
        });
        let mut tdl = fetch_in(mode).arg(server.url("/x"));
        tdl.run().assert_code(0);
        assert_eq!(ranges(&server), [None, None, None, None], "there is no validator to resume with");
        assert_eq!((tdl.names(), tdl.read("x") == body()), (vec!["x".to_owned()], true));
    }
}

in_both_modes!(a_server_that_cuts_every_response_after_80_kb_delivers_a_megabyte);
fn a_server_that_cuts_every_response_after_80_kb_delivers_a_megabyte(mode: Mode) {
    let megabyte = || content(4, 1_000_000);
    let server = Server::start(move |request| Reply::file(request, &megabyte(), TAG).cut_after(80_000));
    let mut tdl = fetch_in(mode).args([&server.url("/x"), "--retries", "2"]);
    tdl.run().assert_code(0);
    let requests = server.requests();
    assert_eq!((requests[1].header("range"), requests[1].header("if-range")), (Some("bytes=80000-"), Some(TAG)));
    assert_eq!((requests.len(), tdl.read("x") == megabyte()), (13, true));
}
