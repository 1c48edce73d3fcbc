//! The main job: fetching every file of a list, concurrently or one after another.

use std::sync::Arc;
use std::time::Duration;

use crate::command::{Output, content, fetch};
use crate::server::{Gate, Reply, Server};

/// A server of numbered files: `/7` is `content(7, length(7))`.
fn numbered(length: impl Fn(usize) -> usize + Send + Sync + 'static) -> Server {
    Server::start(move |request| {
        let number = request.target[1..].parse().unwrap();
        Reply::ok(content(number, length(number)))
    })
}

fn urls(server: &Server, count: usize) -> String {
    (0..count).map(|number| server.url(&format!("/{number}\n"))).collect()
}

#[test]
fn every_file_arrives_byte_for_byte_in_every_mode() {
    let length = |number| [0, 1, 1000, 65_536, 65_537, 300_000][number % 6];
    for arguments in [&[][..], &["-j", "3"], &["--sequential"], &["--per-host", "1"], &["-j", "1"]] {
        let server = numbered(length);
        let mut tdl = fetch().args(["-i", "urls.txt"]).args(arguments).file("urls.txt", urls(&server, 40));
        let output = tdl.run().assert_code(0);
        assert!(output.stdout.starts_with("40 of 40 files are there: all fetched\n"), "{}", output.stdout);
        assert_eq!(tdl.names().len(), 40);
        for number in 0..40 {
            assert_eq!(tdl.read(&number.to_string()), content(number, length(number)), "{arguments:?}: {number}");
        }
        assert_eq!(server.requests().len(), 40);
    }
}

#[test]
fn ten_slow_responses_are_awaited_up_to_the_limits() {
    for (arguments, at_once) in [(&[][..], 10), (&["-j", "4"], 4), (&["--per-host", "3"], 3), (&["--sequential"], 1)] {
        let gate = Arc::new(Gate::default());
        let held = Arc::clone(&gate);
        let server = Server::start(move |_| Reply::ok("x").after(Duration::from_millis(20)).held_until(&held));
        let mut tdl = fetch().args((0..10).map(|number| server.url(&format!("/{number}")))).args(arguments);
        let child = tdl.spawn();
        // No response comes before the limit is reached.
        server.wait_for_requests(at_once);
        gate.open();
        Output::from(child).assert_code(0);
        assert_eq!(server.most_at_once(), at_once, "{arguments:?}");
    }
}

#[test]
fn the_limit_per_host_applies_to_each_host() {
    let gate = Arc::new(Gate::default());
    let servers = [(); 2].map(|()| {
        let held = Arc::clone(&gate);
        Server::start(move |_| Reply::ok("x").held_until(&held))
    });
    let urls = (0..12).map(|number| servers[number % 2].url(&format!("/{number}")));
    let mut tdl = fetch().args(urls).args(["--per-host", "2"]);
    let child = tdl.spawn();
    servers.iter().for_each(|server| server.wait_for_requests(2));
    gate.open();
    Output::from(child).assert_code(0);
    assert_eq!(servers.each_ref().map(Server::most_at_once), [2, 2]);
}

#[test]
fn connections_are_reused() {
    let server = Server::echo();
    let urls = (0..20).map(|number| server.url(&format!("/{number}")));
    fetch().args(urls).arg("--sequential").run().assert_code(0);
    assert_eq!(server.connections(), 1);
}

#[test]
fn bodies_arrive_as_served_in_every_framing() {
    let body = content(1, 200_000);
    let served = body.clone();
    let server = Server::start(move |request| {
        let reply = Reply::ok(served.clone());
        match request.target.as_str() {
            "/chunked" => reply.chunked(),
            "/close" => reply.until_close(),
            "/gzip" => reply.header("Content-Encoding", "gzip"),
            "/slow" => reply.drip(40_000, Duration::from_millis(10)),
            _ => reply,
        }
    });
    let names = ["chunked", "close", "gzip", "plain", "slow"];
    let mut tdl = fetch().args(names.map(|name| server.url(&format!("/{name}"))));
    let output = tdl.run().assert_code(0);
    assert_eq!(tdl.names(), names);
    for name in names {
        assert_eq!(tdl.read(name), body, "{name}");
    }
    assert!(output.stdout.contains("unchecked          1   no length was announced"), "{}", output.stdout);
}

#[test]
fn a_file_gets_the_modification_time_of_its_response() {
    let server = Server::start(|_| Reply::ok("x").header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"));
    let mut tdl = fetch().arg(server.url("/old"));
    tdl.run().assert_code(0);
    let modified = std::fs::metadata(tdl.out().join("old")).unwrap().modified().unwrap();
    assert_eq!(modified, std::time::UNIX_EPOCH + Duration::from_secs(784_111_777));
}

#[test]
fn a_duplicate_url_is_fetched_once_and_a_duplicate_name_is_changed() {
    let server = Server::echo();
    let urls = ["/a/x.txt", "/b/x.txt", "/a/x.txt#again"].map(|path| server.url(path));
    let mut tdl = fetch().args(urls);
    let output = tdl.run().assert_code(0);
    assert_eq!(tdl.names(), ["x-2.txt", "x.txt"]);
    assert_eq!(tdl.read("x-2.txt"), b"/b/x.txt");
    assert_eq!(server.requests().len(), 2);
    assert!(output.stderr.contains("warning: 1 duplicate URL skipped"), "{}", output.stderr);
}

#[test]
fn a_connection_closed_after_a_response_costs_no_retry() {
    let server = Server::start(|request| {
        let reply = Reply::ok(request.target.clone());
        // The response is whole, and then the connection closes without a `Connection: close`.
        if request.number % 3 == 0 { reply.cut_after(usize::MAX) } else { reply }
    });
    let mut tdl = fetch().args((0..200).map(|number| server.url(&format!("/{number}")))).args(["--retries", "0"]);
    tdl.run().assert_code(0);
    assert_eq!(tdl.names().len(), 200);
}
