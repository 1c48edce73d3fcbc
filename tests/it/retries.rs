//! Retries: which failures are retried, how long the wait is, and when a download is given up.

use std::sync::Arc;
use std::time::Duration;

use crate::command::{Output, content, fetch, fetch_in, wait_for, wait_for_stderr};
use crate::mode::{Mode, in_both_modes};
use crate::server::{Gate, Reply, Server, TIMEOUT};

in_both_modes!(a_server_that_cuts_every_response_at_the_same_point_is_given_up);
fn a_server_that_cuts_every_response_at_the_same_point_is_given_up(mode: Mode) {
    let server = Server::start(|_| Reply::ok(content(1, 100_000)).cut_after(50_000));
    let mut tdl = fetch_in(mode).args([&server.url("/x"), "--retries", "2"]);
    let output = tdl.run().assert_code(75);
    // One attempt made progress, and the next two did not.
    assert_eq!(server.requests().len(), 3, "{}", output.stderr);
    assert!(tdl.names().is_empty());
}

in_both_modes!(retry_after_delays_the_whole_host_and_no_other);
fn retry_after_delays_the_whole_host_and_no_other(mode: Mode) {
    for date in [false, true] {
        let other = Server::echo();
        let server = Server::start(move |request| match request.number {
            0 if date => {
                // A date has whole seconds, so three seconds from now is at least two seconds ahead.
                let then = std::time::SystemTime::now() + Duration::from_secs(3);
                Reply::status(429).header("Retry-After", httpdate::fmt_http_date(then))
            }
            0 => Reply::status(429).header("Retry-After", "2"),
            _ => Reply::ok(request.target.clone()),
        });
        let urls = [server.url("/a"), server.url("/b"), other.url("/c"), other.url("/d")];
        let mut tdl = fetch_in(mode).args(&urls).arg("-j1");
        let output = tdl.run().assert_code(0);
        assert_eq!(tdl.names(), ["a", "b", "c", "d"]);
        assert!(output.stderr.contains("/a: retrying in "), "{}", output.stderr);
        let requests = server.requests();
        let refused = requests[0].at;
        for request in &requests[1..] {
            let waited = request.at.duration_since(refused);
            assert!(waited < TIMEOUT, "{}: {waited:?}", request.target);
            assert!(waited >= Duration::from_secs(2), "{}: {waited:?}", request.target);
        }
        // Only the sequential loop waits before it asks the other host.
        assert!(mode.is_sequential() || other.requests().iter().all(|request| request.at < requests[1].at));
    }
}

#[test]
fn what_is_said_about_a_wait_includes_that_of_its_host() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let server = Server::start(move |request| match (request.target.as_str(), request.number) {
        ("/throttled", 0..=1) => Reply::status(429).header("Retry-After", "3"),
        ("/busy", 0..=1) => Reply::status(503).held_until(&held),
        _ => Reply::ok("x"),
    });
    let mut tdl = fetch().args([server.url("/throttled"), server.url("/busy")]);
    let mut child = tdl.spawn();
    wait_for_stderr(&mut child, "/throttled: retrying in ");
    gate.open();
    let output = Output::from(child).assert_code(0);
    let (_, said) = output.stderr.split_once("/busy: retrying in ").unwrap();
    // By itself it would wait for a second at most.
    let seconds: f64 = said.split(' ').next().unwrap().parse().unwrap();
    assert!((1.5..=3.0).contains(&seconds), "{}", output.stderr);
}

#[test]
fn a_retry_that_waits_for_a_permit_is_said_to() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let server = Server::start(move |request| match (request.target.as_str(), request.number) {
        ("/flaky", 0) => Reply::status(500),
        ("/slow", _) => Reply::ok("x").held_until(&held),
        _ => Reply::ok("x"),
    });
    let mut tdl = fetch().args([&server.url("/flaky"), &server.url("/slow"), "--per-host=1"]);
    let mut child = tdl.spawn();
    wait_for_stderr(&mut child, "/flaky: its wait is over; trying again as soon as a connection is free\n");
    gate.open();
    Output::from(child).assert_code(0);
}

in_both_modes!(a_retry_after_date_is_measured_by_the_servers_clock);
fn a_retry_after_date_is_measured_by_the_servers_clock(mode: Mode) {
    // By the local clock the date is decades in the future or in the past.
    for year in [2095, 1994] {
        let server = Server::start(move |request| match request.number {
            0 => Reply::status(503)
                .header("Date", httpdate::fmt_http_date(in_year(year)))
                .header("Retry-After", httpdate::fmt_http_date(in_year(year) + Duration::from_secs(2))),
            _ => Reply::ok("x"),
        });
        fetch_in(mode).arg(server.url("/x")).run().assert_code(0);
        let waited = server.requests()[1].at.duration_since(server.requests()[0].at);
        assert!((Duration::from_secs(2)..TIMEOUT).contains(&waited), "{waited:?}");
    }
}

fn in_year(year: u64) -> std::time::SystemTime {
    std::time::SystemTime::UNIX_EPOCH + Duration::from_secs((year - 1970) * 365 * 24 * 60 * 60)
}

in_both_modes!(a_retry_after_above_five_minutes_is_not_waited_for);
fn a_retry_after_above_five_minutes_is_not_waited_for(mode: Mode) {
    let server = Server::start(|_| Reply::status(503).header("Retry-After", "301"));
    fetch_in(mode).args([&server.url("/x")]).run().assert_code(75);
    assert_eq!(server.requests().len(), 1);
}

in_both_modes!(every_file_is_fetched_from_a_host_that_throttles_above_four_requests);
fn every_file_is_fetched_from_a_host_that_throttles_above_four_requests(mode: Mode) {
    const FILES: usize = 200;
    let server = Server::start(|request| {
        if request.in_flight > 4 {
            Reply::status(if request.number % 2 == 0 { 503 } else { 429 })
        } else {
            Reply::ok(request.target.clone()).after(Duration::from_millis(20))
        }
    });
    let mut tdl = fetch_in(mode).args((0..FILES).map(|number| server.url(&format!("/{number}"))));
    tdl.run().assert_code(0);
    assert_eq!(tdl.names().len(), FILES);
    let all = server.requests().len();
    assert!(all - FILES <= all / 6, "{} of {all} requests were refused", all - FILES);
}

in_both_modes!(a_run_ends_while_a_host_is_throttled);
fn a_run_ends_while_a_host_is_throttled(mode: Mode) {
    let server = Server::start(|request| match request.target.as_str() {
        "/busy" => Reply::status(503).header("Retry-After", "200"),
        target => Reply::ok(target),
    });
    let mut tdl = fetch_in(mode).args([&server.url("/good"), &server.url("/busy"), "--retries=0"]);
    let mut child = tdl.spawn();
    wait_for(|| child.try_wait().unwrap().is_some());
    Output::from(child).assert_code(75);
}

in_both_modes!(an_unrequested_206_is_not_a_file);
fn an_unrequested_206_is_not_a_file(mode: Mode) {
    let server = Server::start(|_| Reply::rest(b"whole file", 5));
    let mut tdl = fetch_in(mode).arg(server.url("/x"));
    let output = tdl.run().assert_code(1);
    assert!(output.stderr.contains("the server responded with 206 Partial Content"), "{}", output.stderr);
    assert!(tdl.names().is_empty());
}

in_both_modes!(retry_after_delays_the_host_even_without_retries);
fn retry_after_delays_the_host_even_without_retries(mode: Mode) {
    let server = Server::start(|request| match request.target.as_str() {
        "/busy" => Reply::status(429).header("Retry-After", "1"),
        target => Reply::ok(target),
    });
    let urls = ["/busy", "/next"].map(|path| server.url(path));
    fetch_in(mode).args(urls).args(["--jobs=1", "--retries=0"]).run().assert_code(75);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].at.duration_since(requests[0].at) >= Duration::from_secs(1));
}

in_both_modes!(a_503_with_retry_after_delays_no_other_url_without_retries);
fn a_503_with_retry_after_delays_no_other_url_without_retries(mode: Mode) {
    let server = Server::start(|request| match request.target.as_str() {
        "/busy1" | "/busy2" => Reply::status(503).header("Retry-After", "100"),
        target => Reply::ok(target),
    });
    let urls = ["/busy1", "/a", "/busy2", "/b"].map(|path| server.url(path));
    let mut tdl = fetch_in(mode).args(urls).args(["--jobs=1", "--retries=0"]);
    let mut child = tdl.spawn();
    wait_for(|| child.try_wait().unwrap().is_some());
    Output::from(child).assert_code(75);
    assert_eq!(tdl.names(), ["a", "b"]);
}

in_both_modes!(two_urls_with_503_delay_a_host_that_serves_nothing_even_without_retries);
fn two_urls_with_503_delay_a_host_that_serves_nothing_even_without_retries(mode: Mode) {
    let server = Server::start(|request| match request.target.as_str() {
        "/busy1" | "/busy2" => Reply::status(503).header("Retry-After", "1"),
        target => Reply::ok(target),
    });
    let urls = ["/busy1", "/busy2", "/a"].map(|path| server.url(path));
    fetch_in(mode).args(urls).args(["--jobs=1", "--retries=0"]).run().assert_code(75);
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests[2].at.duration_since(requests[1].at) >= Duration::from_secs(1));
}

#[test]
fn a_503_with_retry_after_delays_its_url_and_no_other() {
    let server = Server::start(|request| match request.number {
        0 => Reply::status(503).header("Retry-After", "1"),
        _ => Reply::ok(request.target.clone()),
    });
    let urls = ["/busy", "/a", "/b", "/c"].map(|path| server.url(path));
    fetch().args(urls).arg("--jobs=1").run().assert_code(0);
    let requests = server.requests();
    let targets: Vec<_> = requests.iter().map(|request| request.target.as_str()).collect();
    assert_eq!(targets, ["/busy", "/a", "/b", "/c", "/busy"]);
    assert!(requests[4].at.duration_since(requests[0].at) >= Duration::from_secs(1));
}

#[test]
fn two_urls_with_503_and_retry_after_delay_a_host_that_serves_nothing() {
    let server = Server::start(|request| match request.number {
        0 | 1 => Reply::status(503).header("Retry-After", "1"),
        _ => Reply::ok(request.target.clone()),
    });
    let urls = ["/a", "/b", "/c", "/d"].map(|path| server.url(path));
    fetch().args(urls).arg("--jobs=1").run().assert_code(0);
    let requests = server.requests();
    assert_eq!(requests.len(), 6);
    for request in &requests[2..] {
        let waited = request.at.duration_since(requests[1].at);
        assert!(waited >= Duration::from_secs(1), "{}: {waited:?}", request.target);
    }
}

#[test]
fn a_host_that_serves_a_file_is_no_longer_held_for_503s() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let server = Server::start(move |request| match request.target.as_str() {
        "/busy1" | "/busy2" => Reply::status(503).header("Retry-After", "200"),
        target => Reply::ok(target).held_until(&held),
    });
    let urls = ["/busy1", "/busy2", "/a", "/b", "/c", "/d"].map(|path| server.url(path));
    let mut tdl = fetch().args(urls).args(["--jobs=3", "--retries=0"]);
    let mut child = tdl.spawn();
    // Both have failed, so the host is held, while one or two other files are in flight.
    let shown = wait_for_stderr(&mut child, "/busy1: failed: ");
    if !shown.contains("/busy2: failed: ") {
        wait_for_stderr(&mut child, "/busy2: failed: ");
    }
    gate.open();
    wait_for(|| child.try_wait().unwrap().is_some());
    Output::from(child).assert_code(75);
    assert_eq!(tdl.names(), ["a", "b", "c", "d"]);
}

in_both_modes!(permanent_failures_are_not_retried_and_temporary_ones_as_often_as_allowed);
fn permanent_failures_are_not_retried_and_temporary_ones_as_often_as_allowed(mode: Mode) {
    for (status, code, requests) in [(404, 1, 1), (403, 1, 1), (410, 1, 1), (503, 75, 3)] {
        let server = Server::start(move |_| Reply::status(status));
        fetch_in(mode).args([&server.url("/x"), "--retries", "2"]).run().assert_code(code);
        assert_eq!(server.requests().len(), requests, "{status}");
    }
}
