//! Failures of single downloads: each is reported with its cause, leaves nothing behind and affects no other download.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use crate::command::{content, fetch, fetch_in};
use crate::mode::{Mode, in_both_modes};
use crate::server::{Gate, Reply, Server};

in_both_modes!(a_404_among_good_files_fails_alone);
fn a_404_among_good_files_fails_alone(mode: Mode) {
    let server = Server::start(|request| match request.target.as_str() {
        "/missing?key=secret" => Reply::status(404),
        target => Reply::ok(target),
    });
    let urls = ["/a", "/missing?key=secret", "/b", "/c"].map(|path| server.url(path));
    let mut tdl = fetch_in(mode).args(urls).arg("--jobs=4");
    let output = tdl.run().assert_code(1);
    assert_eq!(tdl.names(), ["a", "b", "c"]);
    let message = format!("{}?key=***: failed: the server responded with 404 Not Found\n", server.url("/missing"));
    assert!(output.stderr.contains(&message), "{}", output.stderr);
    assert!(output.stdout.starts_with("3 of 4 files are there: 3 fetched\n"), "{}", output.stdout);
    let listed = format!("1 failed:\n  {}?key=***: the server responded with 404 Not Found\n", server.url("/missing"));
    assert!(output.stdout.contains(&listed), "{}", output.stdout);
    assert_eq!(server.requests().len(), 4, "a 404 is not retried");
}

#[test]
fn an_error_page_is_never_saved() {
    let temporary = [408, 425, 429, 500, 502, 503, 504, 520, 524];
    let statuses =
        [201, 202, 203, 204, 206, 300, 304, 400, 401, 403, 410, 416, 451, 501, 505].into_iter().chain(temporary);
    for status in statuses {
        let server = Server::start(move |_| match status {
            204 | 304 => Reply::raw(format!("HTTP/1.1 {status} X\r\n\r\n")),
            _ => Reply::status(status),
        });
        let mut tdl = fetch().args([&server.url("/x"), "--retries", "0"]);
        let output = tdl.run().assert_code(if temporary.contains(&status) { 75 } else { 1 });
        assert!(tdl.names().is_empty(), "{status}");
        assert!(output.stderr.contains(&format!("the server responded with {status}")), "{}", output.stderr);
    }
}

#[test]
fn a_truncated_body_is_not_a_file() {
    let body = content(1, 100_000);
    let server = Server::start(move |request| {
        let reply = Reply::ok(body.clone());
        match request.target.as_str() {
            "/short" => reply.cut_after(60_000),
            "/none" => reply.cut_after(0),
            "/chunked" => reply.chunked().cut_after(70_000),
            "/stalls" => reply.stall_after(1000),
            "/silent" => reply.after(Duration::from_secs(20)),
            target => panic!("{target}"),
        }
    });
    for (path, message) in [
        ("/short", "the body ended after 60000 of 100000 bytes"),
        ("/none", "the body ended after 0 of 100000 bytes"),
        ("/chunked", "the connection broke after "),
        ("/stalls", "no data received for 500ms; --stall-timeout sets how long to wait"),
        ("/silent", "the server did not respond within 500ms; --stall-timeout sets how long to wait"),
    ] {
        let timeout = if message.contains("500ms") { "500ms" } else { "20s" };
        let mut tdl = fetch().args([&server.url(path), "--retries=0", "--stall-timeout", timeout]);
        let output = tdl.run().assert_code(75);
        assert!(output.stderr.contains(&format!("{path}: failed: {message}")), "{}", output.stderr);
        assert!(tdl.names().is_empty(), "{path}: {:?}", tdl.names());
    }
}

#[test]
fn the_run_does_not_wait_for_the_body_of_an_error_page() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let server = Server::start(move |_| Reply::status(404).held_after(0, &held));
    fetch().args([&server.url("/x"), "--stall-timeout=300s"]).run().assert_code(1);
    // Panics if the server has waited here too long: the run must not wait for the body.
    gate.open();
}

#[test]
fn the_sequential_estimate_includes_failed_downloads() {
    let server = Server::start(|request| match request.target.as_str() {
        "/missing" => Reply::status(404).after(Duration::from_millis(50)),
        target => Reply::ok(target).after(Duration::from_millis(500)),
    });
    let output = fetch().args(["/a", "/b", "/missing"].map(|path| server.url(path))).run().assert_code(1);
    let row = output.stdout.lines().find(|line| line.starts_with("  sequential")).unwrap();
    let seconds: f64 = row.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(seconds >= 1.05, "{row}");
}

#[test]
fn a_response_that_is_not_http_fails_permanently() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.2p1\r\n"[..],
        b"\x00\x01\x02\x03",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: minus\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello!",
    ] {
        let server = Server::start(move |_| Reply::raw(garbage));
        let mut tdl = fetch().args([&server.url("/x"), "--retries", "0"]);
        let output = tdl.run().assert_code(1);
        assert!(output.stderr.contains("failed: the response is not valid HTTP: "), "{}", output.stderr);
        assert!(tdl.names().is_empty());
    }
}

#[test]
fn an_invalid_chunk_is_retried_like_a_broken_connection() {
    let server = Server::start(|request| match request.number {
        0 => Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot hex\r\n"),
        _ => Reply::ok("whole"),
    });
    let mut tdl = fetch().arg(server.url("/x"));
    tdl.run().assert_code(0);
    assert_eq!(tdl.read("x"), b"whole");
}

#[test]
fn a_failed_connection_is_temporary() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = fetch().args([&format!("http://{closed}/x"), "--retries", "0"]).run().assert_code(75);
    assert!(output.stderr.contains("/x: failed: could not connect: "), "{}", output.stderr);
    assert!(output.stderr.contains("refused"), "{}", output.stderr);

    // Some resolvers report a name that does not exist, others a failed lookup.
    let output = fetch().args(["http://no-such-host.invalid/x", "--retries", "0"]).run();
    let words = if output.code == Some(75) { "could not be resolved: " } else { "does not exist: " };
    assert!(output.stderr.contains(&format!("failed: the host name {words}no-such-host.invalid: ")), "{output:?}");

    let hangs_up = Server::start(|_| Reply::raw(""));
    let output = fetch().args([&hangs_up.url("/x"), "--retries", "0"]).run().assert_code(75);
    assert!(output.stderr.contains("the connection broke after 0 bytes"), "{}", output.stderr);
}

in_both_modes!(temporary_failures_are_retried);
fn temporary_failures_are_retried(mode: Mode) {
    let body = content(1, 100_000);
    let served = body.clone();
    let server = Server::start(move |request| match request.number {
        0 => Reply::status(503),
        1 => Reply::ok(served.clone()).cut_after(10),
        _ => Reply::ok(served.clone()),
    });
    let mut tdl = fetch_in(mode).args([&server.url("/x"), "--jobs=2", "--json"]);
    let output = tdl.run().assert_code(0);
    assert_eq!(tdl.read("x"), body);
    assert_eq!(tdl.names(), ["x"]);
    assert_eq!(server.requests().len(), 3);
    assert!(output.stderr.contains("x: retrying in "), "{}", output.stderr);
    assert!(output.stdout.contains(r#""event":"retrying""#), "{}", output.stdout);
    assert!(output.stdout.contains(r#""attempts":3"#), "{}", output.stdout);
}

#[test]
fn retries_are_limited() {
    let server = Server::start(|_| Reply::status(500));
    let output = fetch().args([&server.url("/x"), "--retries", "1"]).run().assert_code(75);
    assert_eq!(server.requests().len(), 2);
    assert!(output.stderr.contains("failed: the server responded with 500 Internal Server Error"), "{}", output.stderr);
}

#[test]
fn one_permanent_failure_outweighs_temporary_ones() {
    let server = Server::start(|request| Reply::status(request.target[1..].parse().unwrap()));
    fetch().args([&server.url("/503"), &server.url("/404"), "--retries=0"]).run().assert_code(1);
}

in_both_modes!(fail_fast_starts_nothing_new);
fn fail_fast_starts_nothing_new(mode: Mode) {
    let server = Server::start(|request| match request.target.as_str() {
        "/1" => Reply::status(404),
        target => Reply::ok(target),
    });
    let urls = (0..5).map(|number| server.url(&format!("/{number}")));
    let mut tdl = fetch_in(mode).args(urls).args(["--jobs=1", "--fail-fast", "--json"]);
    let output = tdl.run().assert_code(1);
    assert_eq!((server.targets(), tdl.names()), (vec!["/0".to_owned(), "/1".to_owned()], vec!["0".to_owned()]));
    assert!(output.stdout.contains(r#""fetched":1,"skipped":0,"failed":1,"cancelled":3,"#), "{}", output.stdout);
    assert_eq!(output.stdout.matches(r#""kind":"cancelled","temporary":true"#).count(), 3);
    let server = Server::start(|_| Reply::status(503));
    let urls = ["/a", "/b"].map(|path| server.url(path));
    fetch_in(mode).args(urls).args(["--jobs=1", "--fail-fast", "--retries=0"]).run().assert_code(75);
    assert_eq!(server.requests().len(), 2, "a temporary failure does not stop the run");
}

#[test]
fn the_summary_lists_ten_failures_and_counts_the_rest() {
    let server = Server::start(|_| Reply::status(404));
    let output = fetch().args((0..13).map(|number| server.url(&format!("/{number}")))).run().assert_code(1);
    assert_eq!(output.stdout.matches("the server responded with 404").count(), 10);
    assert!(output.stdout.contains("  and 3 more\n"), "{}", output.stdout);
}
