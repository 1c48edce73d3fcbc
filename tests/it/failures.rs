//! What goes wrong with one download fails that download, says why, leaves nothing behind and spoils no other.

use std::net::TcpListener;
use std::time::Duration;

use crate::command::{content, fetch};
use crate::server::{Reply, Server};

#[test]
fn a_404_among_good_files_fails_alone() {
    for mode in ["--jobs=4", "--sequential"] {
        let server = Server::start(|request| match request.target.as_str() {
            "/missing?key=secret" => Reply::status(404),
            target => Reply::ok(target),
        });
        let urls = ["/a", "/missing?key=secret", "/b", "/c"].map(|path| server.url(path));
        let mut tdl = fetch().args(urls).arg(mode);
        let ended = tdl.run().with(1);
        assert_eq!(tdl.names(), ["a", "b", "c"]);
        let message = format!("{}?key=***: failed: the server answered 404 Not Found\n", server.url("/missing"));
        assert!(ended.stderr.contains(&message), "{}", ended.stderr);
        assert!(ended.stdout.starts_with("3 of 4 files, "), "{}", ended.stdout);
        let told = format!("    {}?key=***: the server answered 404 Not Found\n", server.url("/missing"));
        assert!(ended.stdout.contains(&told), "{}", ended.stdout);
        assert_eq!(server.requests().len(), 4, "a 404 is not asked for again");
    }
}

#[test]
fn error_pages_are_never_saved_whatever_the_status() {
    let for_now = [408, 425, 429, 500, 502, 503, 504, 520, 524];
    let statuses =
        [201, 202, 203, 204, 206, 300, 304, 400, 401, 403, 410, 416, 451, 501, 505].into_iter().chain(for_now);
    for status in statuses {
        let server = Server::start(move |_| match status {
            204 | 304 => Reply::raw(format!("HTTP/1.1 {status} X\r\n\r\n")),
            _ => Reply::status(status),
        });
        let mut tdl = fetch().args([&server.url("/x"), "--retries", "0"]);
        let ended = tdl.run().with(if for_now.contains(&status) { 75 } else { 1 });
        assert!(tdl.names().is_empty(), "{status}");
        assert!(ended.stderr.contains(&format!("the server answered {status}")), "{}", ended.stderr);
    }
}

#[test]
fn bodies_that_end_early_are_not_files() {
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
        ("/stalls", "no byte came for 500ms; --stall-timeout sets how long to wait"),
        ("/silent", "no byte came for 500ms"),
    ] {
        let mut tdl = fetch().args([&server.url(path), "--retries=0", "--stall-timeout=500ms"]);
        let ended = tdl.run().with(75);
        assert!(ended.stderr.contains(&format!("{path}: failed: {message}")), "{}", ended.stderr);
        assert!(tdl.names().is_empty(), "{path}: {:?}", tdl.names());
    }
}

#[test]
fn an_error_page_that_drips_is_not_waited_for() {
    let server = Server::start(|_| Reply::status(404).drip(1, Duration::from_secs(1)));
    let begun = std::time::Instant::now();
    fetch().arg(server.url("/x")).run().with(1);
    let whole = Duration::from_secs("<h1>error 404</h1>".len() as u64);
    assert!(begun.elapsed() < whole / 2, "{:?}", begun.elapsed());
}

#[test]
fn the_times_of_failures_count_for_a_loop_too() {
    let server = Server::start(|request| match request.target.as_str() {
        "/slow" => Reply::status(404).after(Duration::from_millis(300)),
        target => Reply::ok(target),
    });
    let ended = fetch().args(["/a", "/b", "/slow"].map(|path| server.url(path))).run().with(1);
    let row = ended.stdout.lines().find(|line| line.starts_with("  sequential")).unwrap();
    let seconds: f64 = row.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(seconds >= 0.3, "{row}");
}

#[test]
fn what_is_no_http_fails_for_good() {
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
        let ended = tdl.run().with(1);
        assert!(ended.stderr.contains("failed: the answer is not valid HTTP: "), "{}", ended.stderr);
        assert!(tdl.names().is_empty());
    }
}

#[test]
fn a_chunk_that_is_none_is_as_a_broken_connection() {
    let server = Server::start(|request| match request.number {
        0 => Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot hex\r\n"),
        _ => Reply::ok("whole"),
    });
    let mut tdl = fetch().arg(server.url("/x"));
    tdl.run().with(0);
    assert_eq!(tdl.got("x"), b"whole");
}

#[test]
fn no_connection_is_a_failure_for_now() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = fetch().args([&format!("http://{nobody}/x"), "--retries", "0"]).run().with(75);
    assert!(ended.stderr.contains("/x: failed: could not connect: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("refused"), "{}", ended.stderr);

    // Which of the two it is depends on the resolver that this machine has.
    let ended = fetch().args(["http://no-such-host.invalid/x", "--retries", "0"]).run();
    let words = if ended.code == Some(75) { "could not be resolved: " } else { "does not exist: " };
    assert!(ended.stderr.contains(&format!("failed: the host name {words}no-such-host.invalid: ")), "{ended:?}");

    let hangs_up = Server::start(|_| Reply::raw(""));
    let ended = fetch().args([&hangs_up.url("/x"), "--retries", "0"]).run().with(75);
    assert!(ended.stderr.contains("the connection broke after 0 bytes"), "{}", ended.stderr);
}

#[test]
fn failures_that_pass_are_tried_again() {
    for mode in ["--jobs=2", "--sequential"] {
        let body = content(1, 100_000);
        let served = body.clone();
        let server = Server::start(move |request| match request.number {
            0 => Reply::status(503),
            1 => Reply::ok(served.clone()).cut_after(10),
            _ => Reply::ok(served.clone()),
        });
        let mut tdl = fetch().args([&server.url("/x"), mode, "--json"]);
        let ended = tdl.run().with(0);
        assert_eq!(tdl.got("x"), body);
        assert_eq!(tdl.names(), ["x"]);
        assert_eq!(server.requests().len(), 3);
        assert!(ended.stderr.contains("x: retrying in "), "{}", ended.stderr);
        assert!(ended.stdout.contains(r#""event":"retrying""#), "{}", ended.stdout);
        assert!(ended.stdout.contains(r#""attempts":3"#), "{}", ended.stdout);
    }
}

#[test]
fn retries_end() {
    let server = Server::start(|_| Reply::status(500));
    let ended = fetch().args([&server.url("/x"), "--retries", "1"]).run().with(75);
    assert_eq!(server.requests().len(), 2);
    assert!(ended.stderr.contains("failed: the server answered 500 Internal Server Error"), "{}", ended.stderr);
}

#[test]
fn one_failure_for_good_outweighs_those_for_now() {
    let server = Server::start(|request| Reply::status(request.target[1..].parse().unwrap()));
    fetch().args([&server.url("/503"), &server.url("/404"), "--retries=0"]).run().with(1);
}

#[test]
fn fail_fast_starts_nothing_new() {
    for mode in ["--jobs=1", "--sequential"] {
        let server = Server::start(|request| match request.target.as_str() {
            "/1" => Reply::status(404),
            target => Reply::ok(target),
        });
        let urls = (0..5).map(|number| server.url(&format!("/{number}")));
        let mut tdl = fetch().args(urls).args([mode, "--fail-fast", "--json"]);
        let ended = tdl.run().with(1);
        assert_eq!((server.targets(), tdl.names()), (vec!["/0".to_owned(), "/1".to_owned()], vec!["0".to_owned()]));
        assert!(ended.stdout.contains(r#""fetched":1,"skipped":0,"failed":1,"cancelled":3,"#), "{}", ended.stdout);
        assert_eq!(ended.stdout.matches(r#""kind":"cancelled","temporary":true"#).count(), 3);
    }
    let server = Server::start(|_| Reply::status(503));
    let urls = ["/a", "/b"].map(|path| server.url(path));
    fetch().args(urls).args(["--jobs=1", "--fail-fast", "--retries=0"]).run().with(75);
    assert_eq!(server.requests().len(), 2, "a failure for now does not stop the run");
}

#[test]
fn the_summary_tells_ten_failures_and_counts_the_rest() {
    let server = Server::start(|_| Reply::status(404));
    let ended = fetch().args((0..13).map(|number| server.url(&format!("/{number}")))).run().with(1);
    assert_eq!(ended.stdout.matches("the server answered 404").count(), 10);
    assert!(ended.stdout.contains("    and 3 more\n"), "{}", ended.stdout);
}
