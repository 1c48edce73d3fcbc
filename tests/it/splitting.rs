//! Fetching one file over several connections: when it is split, which segments are requested, and how failed ones end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[cfg(unix)]
use crate::command::wait_for;
use crate::command::{Output, Tdl, content, fetch, wait_for_stderr};
use crate::server::{Bucket, Gate, Reply, Request, Server};

const MIB: usize = 1024 * 1024;
const TAG: &str = "\"a\"";

/// Time for an unwanted connection to show up: a file is split as soon as its speed is known, after 100 ms. On a slow
/// machine a test may miss one, but it never fails wrongly.
const TIME_FOR_ONE_MORE: Duration = Duration::from_millis(500);

/// A server whose first response stops after 1 MiB until the gate is open. It answers the second request by `second`,
/// and later ones with the file.
///
/// The speed of a held response falls until its rest is worth another connection.
fn holds_the_first(
    length: usize,
    second: impl Fn(&Request, &[u8]) -> Reply + Send + Sync + 'static,
) -> (Server, Vec<u8>, Arc<Gate>) {
    let body = content(1, length);
    let (file, gate) = (body.clone(), Arc::new(Gate::default()));
    let held = Arc::clone(&gate);
    let server = Server::start(move |request| match request.number {
        0 => Reply::file(request, &file, TAG).held_after(MIB, &held),
        1 => second(request, &file),
        _ => Reply::file(request, &file, TAG),
    });
    (server, body, gate)
}

/// The requested ranges, as start and end.
fn ranges(server: &Server, length: usize) -> Vec<(usize, usize)> {
    server.requests().iter().filter_map(|request| request.range(length)).collect()
}

#[test]
fn an_idle_thread_claims_little_of_the_slowest_download_and_more_once_that_pays() {
    const BIG: usize = 6 * MIB;
    let sizes = [("/big", BIG), ("/middle", 3 * MIB), ("/small1", 30_000), ("/small2", 300_000)];
    let gate = Arc::new(Gate::default());
    let files = sizes.map(|(path, size)| (path, content(size, size)));
    let server = Server::start(move |request| {
        let (_, file) = files.iter().find(|(path, _)| request.target == *path).unwrap();
        let reply = Reply::file(request, file, TAG);
        if request.range(file.len()).is_some_and(|(from, to)| to - from >= MIB / 2) {
            gate.open();
        }
        match request.target.as_str() {
            "/big" => steady(reply),
            // Held until more connections for the big file have been shown to pay: this one cannot be split first.
            "/middle" => reply.held_until(&gate),
            _ => reply,
        }
    });
    let mut tdl = fetch().args(sizes.map(|(path, _)| server.url(path))).args(["-j", "4", "-v"]);
    let output = tdl.run().assert_code(0);
    for (path, size) in sizes {
        assert_eq!(tdl.read(&path[1..]), content(size, size), "{path}");
    }
    assert_eq!(tdl.names(), ["big", "middle", "small1", "small2"]);
    let requests = server.requests();
    let segments: Vec<_> = requests.iter().filter(|request| request.header("range").is_some()).collect();
    assert!(segments.iter().all(|request| request.target == "/big"), "{segments:?}");
    let asked = ranges(&server, BIG);
    // Before it is known whether more connections pay, they get 256 KiB each.
    assert_eq!(asked[0], (BIG - MIB / 4, BIG), "{asked:?}");
    // Later, a share of what is missing.
    assert!(asked.iter().any(|(from, to)| to - from >= MIB / 2), "{asked:?}");
    assert!(output.stderr.contains("/big: opened another connection at byte "), "{}", output.stderr);
    assert!(output.stdout.contains(" 4 threads"), "{}", output.stdout);
}

#[test]
fn a_single_file_has_as_many_connections_as_the_limits_allow() {
    let cases = [
        (&[][..], 16),
        (&["--per-host", "3"], 3),
        (&["--jobs", "2"], 2),
        (&["--jobs", "1"], 1),
        (&["--per-host", "1"], 1),
        (&["--no-split"], 1),
        (&["--sequential"], 1),
    ];
    std::thread::scope(|scope| {
        for (arguments, most) in cases {
            scope.spawn(move || {
                // Each connection gets 1 MiB/s, so that with one the file would take 4 s per connection that is allowed.
                let body = content(1, 4 * MIB * most);
                let file = body.clone();
                let server = Server::start(move |request| steady(Reply::file(request, &file, TAG)));
                let mut tdl = fetch().arg(server.url("/x")).args(arguments);
                tdl.run().assert_code(0);
                assert!(tdl.read("x") == body, "{arguments:?}");
                // A response that `tdl` has cut counts until the server finds that out.
                let cut = if most == 1 { 0 } else { 2 };
                let at_once = server.most_at_once();
                assert!((most..=most + cut).contains(&at_once), "{at_once} {arguments:?}");
            });
        }
    });
}

#[test]
fn a_short_file_or_one_without_a_validator_is_not_split() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let server = Server::start(move |request| {
        let file = |length| Reply::file(request, &content(1, length), TAG);
        let reply = match request.target.as_str() {
            "/short" => return file(64 * 1024).held_after(1024, &held),
            "/unproven" => Reply::ok(content(1, 3 * MIB)),
            "/weak" => Reply::ok(content(1, 3 * MIB)).header("ETag", "W/\"a\""),
            "/refused" => file(3 * MIB).header("Accept-Ranges", "none"),
            _ => file(3 * MIB).chunked(),
        };
        reply.held_after(MIB / 8, &held)
    });
    let paths = ["/short", "/unproven", "/weak", "/refused", "/unannounced"];
    let mut tdl = fetch().args(paths.map(|path| server.url(path)));
    let child = tdl.spawn();
    server.wait_for_requests(paths.len());
    std::thread::sleep(TIME_FOR_ONE_MORE);
    gate.open();
    Output::from(child).assert_code(0);
    assert_eq!(ranges(&server, 1), []);
    assert_eq!(server.requests().len(), paths.len());
    assert_eq!(tdl.read("weak"), content(1, 3 * MIB));
}

#[test]
fn a_wrong_segment_costs_only_its_request() {
    let other = |body: &[u8]| body.iter().map(|byte| !byte).collect::<Vec<_>>();
    type Second = Box<dyn Fn(&Request, &[u8]) -> Reply + Send + Sync>;
    let cases: Vec<(&str, Second)> = vec![
        ("the whole file", Box::new(|_, body| Reply::ok(body).header("ETag", TAG))),
        ("the whole of another file", Box::new(move |_, body| Reply::ok(other(body)).header("ETag", "\"b\""))),
        (
            "a segment of another file",
            Box::new(move |request, body| {
                let (from, to) = request.range(body.len()).unwrap();
                Reply::part(&other(body), from, to).header("ETag", "\"b\"")
            }),
        ),
        (
            "a segment at another offset",
            Box::new(|request, body| {
                let (from, to) = request.range(body.len()).unwrap();
                Reply::part(body, from - 1, to).header("ETag", TAG)
            }),
        ),
        (
            "a segment with another end",
            Box::new(|request, body| {
                let (from, to) = request.range(body.len()).unwrap();
                let range = format!("bytes {from}-{to}/{}", body.len() + 1);
                Reply::partial(&body[from..to]).header("Content-Range", range).header("ETag", TAG)
            }),
        ),
        (
            "a segment of a longer file",
            Box::new(|request, body| {
                let (from, to) = request.range(body.len()).unwrap();
                let range = format!("bytes {from}-{}/{}", to - 1, body.len() + 1);
                Reply::partial(&body[from..to]).header("Content-Range", range).header("ETag", TAG)
            }),
        ),
        (
            "more than the segment",
            Box::new(move |request, body| {
                let (from, to) = request.range(body.len()).unwrap();
                let range = format!("bytes {from}-{}/{}", to - 1, body.len());
                let reply = Reply::partial(other(&[&body[from..to], b"more"].concat()));
                reply.header("Content-Range", range).header("ETag", TAG).chunked()
            }),
        ),
        (
            "a segment without a validator",
            Box::new(move |request, body| {
                let (from, to) = request.range(body.len()).unwrap();
                Reply::part(&other(body), from, to)
            }),
        ),
        (
            "no such range",
            Box::new(|_, body| Reply::status(416).header("Content-Range", format!("bytes */{}", body.len()))),
        ),
        ("not found", Box::new(|_, _| Reply::status(404))),
    ];
    std::thread::scope(|scope| {
        for (what, second) in cases {
            scope.spawn(move || {
                let (server, body, gate) = holds_the_first(6 * MIB, second);
                // Two threads, so that no other connection takes a part of the held response.
                let mut tdl = fetch().args([&server.url("/x"), "-v", "-j2"]);
                let mut child = tdl.spawn();
                let before = wait_for_stderr(&mut child, "/x: another connection ended early: ");
                gate.open();
                let output = Output::from(child).assert_code(0);
                assert!(!output.stderr.contains("a further connection"), "{what}: {before}{}", output.stderr);
                assert!(tdl.read("x") == body, "{what}");
                assert_eq!(tdl.names(), ["x"], "{what}");
                // A third, by the download's own thread, if that reached the segment just before it was free again.
                assert!((2..=3).contains(&server.requests().len()), "{what}: {:?}", ranges(&server, 6 * MIB));
                assert!(output.stderr.contains("; status 200, attempts 1; "), "{what}: {}", output.stderr);
            });
        }
    });
}

#[test]
fn a_split_file_that_changes_is_fetched_again() {
    let (old, new) = (content(1, 6 * MIB), content(2, 5 * MIB));
    let (file, gate) = (new.clone(), Arc::new(Gate::default()));
    let server = Server::start(move |request| match request.number {
        0 => Reply::file(request, &old, TAG).held_after(MIB, &gate).cut_after(2 * MIB),
        _ => {
            gate.open();
            Reply::file(request, &file, "\"b\"")
        }
    });
    let mut tdl = fetch().arg(server.url("/x"));
    tdl.run().assert_code(0);
    assert!(tdl.read("x") == new);
}

#[test]
fn the_rest_of_a_broken_connection_is_fetched_by_another() {
    let body = content(1, 16 * MIB);
    let (file, gate) = (body.clone(), Arc::new(Gate::default()));
    // The first bytes of the long segment.
    let cut = Arc::new(Mutex::new(None));
    let first_cut = Arc::clone(&cut);
    let server = Server::start(move |request| {
        let reply = Reply::file(request, &file, TAG);
        let Some((from, to)) = request.range(16 * MIB) else {
            return reply.held_after(MIB, &gate).cut_after(2 * MIB);
        };
        let mut cut = first_cut.lock().unwrap();
        if to - from <= MIB || cut.is_some() {
            return fast(reply);
        }
        *cut = Some((from, from + MIB));
        gate.open();
        reply.cut_after(MIB)
    });
    let mut tdl = fetch().args([&server.url("/x"), "-j2"]);
    tdl.run().assert_code(0);
    assert!(tdl.read("x") == body);
    let asked = ranges(&server, 16 * MIB);
    let (cut, end) = cut.lock().unwrap().expect("a segment was longer than 1 MiB");
    let later = asked.iter().skip_while(|(from, _)| *from != cut).skip(1);
    let arrived = [(0, 2 * MIB), (cut, end)];
    let again = later.filter(|(from, to)| arrived.iter().any(|(start, end)| from < end && start < to));
    assert_eq!(again.count(), 0, "what had arrived was requested again: {asked:?}");
}

#[test]
fn a_segment_refused_to_the_downloads_own_thread_does_no_harm() {
    for refusal in [403, 200, 416, 503] {
        let body = content(1, 9 * MIB);
        let (file, gates) = (body.clone(), [Arc::new(Gate::default()), Arc::new(Gate::default())]);
        // The number of the first request for a long segment.
        let long = AtomicUsize::new(usize::MAX);
        let server = Server::start(move |request| {
            let reply = Reply::file(request, &file, TAG);
            let Some((from, to)) = request.range(9 * MIB) else {
                return reply.held_after(MIB, &gates[0]);
            };
            let first = long.fetch_min(if to - from > MIB { request.number } else { usize::MAX }, Ordering::Relaxed);
            match request.number.checked_sub(first) {
                // The first response goes on when the other thread has a long segment: the download's own thread
                // reaches that while it waits at its second gate.
                None if to - from > MIB => {
                    gates[0].open();
                    reply.held_after(MIB / 4, &gates[1])
                }
                None | Some(4..) => fast(reply),
                // That thread has requested a part of the segment.
                Some(_) => {
                    gates[1].open();
                    if refusal == 200 { Reply::ok(file.clone()).header("ETag", TAG) } else { Reply::status(refusal) }
                }
            }
        });
        let mut tdl = fetch().args([&server.url("/x"), "-j2", "-v"]);
        let output = tdl.run().assert_code(0);
        assert!(tdl.read("x") == body, "{refusal}");
        let long = ranges(&server, 9 * MIB).iter().position(|(from, to)| to - from > MIB).unwrap();
        assert!(ranges(&server, 9 * MIB).len() > long + 1, "{refusal}: {}", output.stderr);
        let whole = server.requests().iter().filter(|request| request.header("range").is_none()).count();
        assert_eq!(whole, 1, "{refusal}: {}", output.stderr);
    }
}

/// A pace of about 20 kB/s.
fn slow(reply: Reply) -> Reply {
    reply.drip(2 * 1024, Duration::from_millis(100))
}

/// A pace of about 1 MiB/s.
fn steady(reply: Reply) -> Reply {
    reply.drip(16 * 1024, Duration::from_millis(16))
}

/// A pace of about 4 MiB/s.
fn fast(reply: Reply) -> Reply {
    reply.drip(64 * 1024, Duration::from_millis(16))
}

#[test]
fn a_slow_first_connection_is_left_with_little_of_the_file() {
    let body = content(1, 16 * MIB);
    let file = body.clone();
    let server = Server::start(move |request| {
        let reply = Reply::file(request, &file, TAG);
        if request.number == 0 { slow(reply) } else { fast(reply) }
    });
    let mut tdl = fetch().arg(server.url("/x"));
    tdl.run().assert_code(0);
    assert!(tdl.read("x") == body);
    let asked = ranges(&server, 16 * MIB);
    // The first response alone would take 52 s for what comes before.
    assert!(asked.iter().any(|(from, _)| *from < MIB), "{asked:?}");
    // Some of them take from each other what is left at the end.
    let sent = server.body_bytes_sent();
    assert!(sent < 17 * MIB, "{sent} bytes were sent: {asked:?}");
}

#[test]
fn bounded_segments_leave_their_connections_to_later_ones() {
    let body = content(1, 16 * MIB);
    let file = body.clone();
    let server = Server::start(move |request| {
        let reply = Reply::file(request, &file, TAG);
        if request.number == 0 { slow(reply) } else { fast(reply) }
    });
    let mut tdl = fetch().args([&server.url("/x"), "-j2"]);
    tdl.run().assert_code(0);
    assert!(tdl.read("x") == body);
    let requests = server.requests().len();
    assert!(requests >= 6, "{requests}");
    assert_eq!(server.connections(), 2, "{requests} requests");
}

#[test]
fn nothing_waits_for_a_response_that_stalls() {
    type Stall = fn(&Request, Reply, &Arc<Gate>) -> Reply;
    let cases: [(&str, Stall); 5] = [
        ("the first, at once", |request, reply, _| if request.number == 0 { reply.stall_after(1) } else { reply }),
        ("the first, late", |request, reply, _| if request.number == 0 { reply.stall_after(7 * MIB) } else { reply }),
        ("the first, near the end of its part", |request, reply, gate| match request.range(8 * MIB) {
            None => reply.held_after(MIB, gate).stall_after(MIB + MIB / 2),
            Some((from, to)) if from - MIB < to - from => {
                gate.open();
                reply
            }
            _ => reply,
        }),
        ("a segment, near its end", |request, reply, gate| match request.number {
            0 => reply.held_after(MIB, gate),
            1 => {
                gate.open();
                let (from, to) = request.range(8 * MIB).unwrap();
                reply.stall_after(to - from - 10_000)
            }
            _ => reply,
        }),
        ("a segment, before its response", |request, reply, never| match request.number {
            0 => reply.stall_after(MIB),
            1 => reply.held_until(never),
            _ => reply,
        }),
    ];
    std::thread::scope(|scope| {
        for (what, stall) in cases {
            scope.spawn(move || {
                let body = content(1, 8 * MIB);
                let (file, gate) = (body.clone(), Arc::new(Gate::default()));
                let opened = Arc::clone(&gate);
                // Segments are not so fast that the whole file has arrived before a second connection has been judged.
                let server = Server::start(move |request| {
                    let reply = Reply::file(request, &file, TAG);
                    stall(request, if request.number == 0 { reply } else { fast(reply) }, &gate)
                });
                // Without splitting it would never end.
                let mut tdl = fetch().args([&server.url("/x"), "--stall-timeout=1h", "-v", "-j4"]);
                let output = tdl.run().assert_code(0);
                opened.open();
                assert!(tdl.read("x") == body, "{what}");
                assert_eq!(tdl.names(), ["x"], "{what}");
                let asked = ranges(&server, 8 * MIB);
                // None is for less than 256 KiB, unless it takes over what another one has left.
                assert!((1..=32).contains(&asked.len()), "{what}: {asked:?}");
                // Giving up on a response that is not needed any more is no failure.
                assert!(!output.stderr.contains("ended early"), "{what}: {}", output.stderr);
                assert!(output.stderr.contains("attempts 1; "), "{what}: {}", output.stderr);
            });
        }
    });
}

#[test]
fn a_small_body_that_stalls_is_asked_for_again() {
    const LENGTH: usize = 60_000;
    let file = content(1, LENGTH);
    let server = Server::start(move |request| {
        let reply = Reply::file(request, &file, TAG);
        if request.number == 0 { reply.stall_after(20_000) } else { reply }
    });
    // Alone it would never end.
    let urls = ["/x", "/y", "/z"].map(|path| server.url(path));
    let mut tdl = fetch().args(urls).args(["--stall-timeout=1h", "-v"]);
    let output = tdl.run().assert_code(0);
    for name in ["x", "y", "z"] {
        assert!(tdl.read(name) == content(1, LENGTH), "{name}");
    }
    assert_eq!(tdl.names(), ["x", "y", "z"]);
    assert_eq!(ranges(&server, LENGTH), [(20_000, LENGTH)]);
    assert!(!output.stderr.contains("ended early"), "{}", output.stderr);
}

#[test]
fn a_small_body_is_waited_for_if_its_rest_cannot_be_asked_for() {
    type Limit = fn(Reply) -> Reply;
    let cases: [(Limit, &[&str]); 3] = [
        (|reply| reply.without("ETag"), &[]),
        (|reply| reply.header("Accept-Ranges", "none"), &[]),
        (|reply| reply, &["--no-split"]),
    ];
    for (limit, options) in cases {
        let (file, gate) = (content(1, 60_000), Arc::new(Gate::default()));
        let held = Arc::clone(&gate);
        let server = Server::start(move |request| limit(Reply::file(request, &file, TAG)).held_after(20_000, &held));
        let mut tdl = fetch().arg(server.url("/x")).args(options);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                server.wait_for_requests(1);
                std::thread::sleep(TIME_FOR_ONE_MORE);
                gate.open();
            });
            tdl.run().assert_code(0);
        });
        assert!(tdl.read("x") == content(1, 60_000), "{options:?}");
        assert_eq!(server.requests().len(), 1, "{options:?}");
    }
}

#[test]
fn a_distant_server_that_limits_each_connection_is_asked_over_many() {
    let body = content(1, 16 * MIB);
    let file = body.clone();
    let server =
        Server::start(move |request| steady(Reply::file(request, &file, TAG)).after(Duration::from_millis(100)));
    let mut tdl = fetch().arg(server.url("/x"));
    tdl.run().assert_code(0);
    assert!(tdl.read("x") == body);
    assert!(server.connections() >= 4, "{:?}", ranges(&server, 16 * MIB));
}

/// Fetches a file from a server, and asserts that it took at most three connections, and that little was sent in vain.
fn assert_hardly_split(body: &[u8], server: &Server) {
    let mut tdl = fetch().arg(server.url("/x"));
    tdl.run().assert_code(0);
    assert!(tdl.read("x") == body);
    assert!(server.connections() <= 3, "{} connections: {:?}", server.connections(), ranges(server, body.len()));
    let (sent, asked) = (server.body_bytes_sent(), ranges(server, body.len()));
    assert!(sent <= body.len() * 103 / 100, "{sent} of {} bytes were sent: {asked:?}", body.len());
}

#[test]
fn a_file_that_arrives_as_fast_as_the_machine_can_is_not_split() {
    let body = vec![7; 192 * MIB];
    let file = body.clone();
    let server = Server::start(move |request| Reply::file(request, &file, TAG));
    assert_hardly_split(&body, &server);
}

#[test]
fn a_file_is_not_split_where_all_connections_together_are_limited() {
    let body = content(1, 20 * MIB);
    let (file, link) = (body.clone(), Arc::new(Bucket::new(4e6)));
    let server =
        Server::start(move |request| Reply::file(request, &file, TAG).after(Duration::from_millis(100)).through(&link));
    assert_hardly_split(&body, &server);
    assert!(server.requests().len() > 1, "no other connection was tried");
}

#[test]
fn a_server_that_throttles_above_four_requests_gives_split_files() {
    let refused = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&refused);
    let server = Server::start(move |request| {
        if request.in_flight > 4 {
            counter.fetch_add(1, Ordering::Relaxed);
            return Reply::status(503);
        }
        let size = if request.target == "/big" { 16 * MIB } else { 200_000 };
        Reply::file(request, &content(size, size), TAG).drip(32 * 1024, Duration::from_millis(16))
    });
    let paths = ["/a", "/b", "/c", "/big", "/d", "/e"];
    let mut tdl = fetch().args(paths.map(|path| server.url(path)));
    tdl.run().assert_code(0);
    for path in paths {
        let size = if path == "/big" { 16 * MIB } else { 200_000 };
        assert!(tdl.read(&path[1..]) == content(size, size), "{path}");
    }
    let (refused, all) = (refused.load(Ordering::Relaxed), server.requests().len());
    assert!(all > paths.len() + refused, "no segment was fetched over another connection");
    assert!(refused <= 8, "{refused} of {all} were refused");
}

/// Adds the part file and the sidecar that a killed run leaves: `done` are the ranges that it has.
fn with_part_file(tdl: Tdl, server: &Server, body: &[u8], length: Option<usize>, done: &[(usize, usize)]) -> Tdl {
    let mut part = vec![0; done.last().unwrap().1];
    for (start, end) in done {
        part[*start..*end].copy_from_slice(&body[*start..*end]);
    }
    let (url, etag) = (server.url("/x"), TAG);
    let marks = serde_json::json!({"etag": etag, "last_modified": null, "coding": null, "place": url});
    let sidecar = serde_json::json!({
        "version": 1, "url": url, "validator": {"marks": marks, "is_settled": false}, "length": length, "done": done,
    });
    tdl.file("out/x.part", part).file("out/x.part.json", sidecar.to_string())
}

#[test]
fn only_the_gaps_that_a_killed_run_left_are_requested() {
    let body = content(1, 8 * MIB);
    for (length, mode) in [(Some(8 * MIB), "-j4"), (None, "-j4"), (Some(8 * MIB), "--sequential"), (None, "-j1")] {
        let file = body.clone();
        let server = Server::start(move |request| Reply::file(request, &file, TAG));
        let done = [(MIB, 3 * MIB), (4 * MIB, 7 * MIB)];
        let tdl = fetch().args([&server.url("/x"), mode]);
        let mut tdl = with_part_file(tdl, &server, &body, length, &done);
        tdl.run().assert_code(0);
        assert!(tdl.read("x") == body, "{length:?} {mode}");
        let mut asked = ranges(&server, 8 * MIB);
        asked.sort_unstable();
        assert_eq!(asked, [(0, MIB), (3 * MIB, 4 * MIB), (7 * MIB, 8 * MIB)], "{length:?} {mode}");
    }
}

#[test]
fn a_gap_is_not_mistaken_for_the_end_of_the_file() {
    let body = content(1, 8 * MIB);
    let file = body.clone();
    let server = Server::start(move |request| match request.range(8 * MIB) {
        Some((from, _)) => Reply::status(416).header("Content-Range", format!("bytes */{from}")),
        None => Reply::file(request, &file, TAG),
    });
    let tdl = fetch().args([&server.url("/x"), "-j4"]);
    let mut tdl = with_part_file(tdl, &server, &body, None, &[(0, 3 * MIB), (4 * MIB, 7 * MIB)]);
    tdl.run().assert_code(0);
    assert!(tdl.read("x") == body);
}

#[cfg(unix)]
#[test]
fn after_a_kill_all_segments_are_resumed() {
    use rustix::process::{Pid, Signal, kill_process};

    /// Returns the ranges that a sidecar claims.
    fn claimed(tdl: &Tdl, name: &str) -> Vec<(usize, usize)> {
        let text = std::fs::read(tdl.out().join(format!("{name}.part.json"))).unwrap_or_default();
        let ranges = serde_json::from_slice::<serde_json::Value>(&text).ok().map(|sidecar| sidecar["done"].clone());
        ranges.and_then(|ranges| serde_json::from_value(ranges).ok()).unwrap_or_default()
    }

    for (signal, mode) in [
        (Signal::KILL, "--jobs=4"),
        (Signal::KILL, "--sequential"),
        (Signal::INT, "--jobs=4"),
        (Signal::INT, "--no-split"),
    ] {
        let gate = Arc::new(Gate::default());
        let opened = Arc::clone(&gate);
        let server = Server::start(move |request| {
            let seed = usize::from(request.target == "/y");
            Reply::file(request, &content(seed, 8 * MIB), TAG).held_after(MIB, &gate)
        });
        let urls = ["/x", "/y"].map(|path| server.url(path));
        // Enough threads for both, even if one file is split as far as it can be before the other has started.
        let mut tdl = fetch().args(&urls).args(["--jobs=8", "--per-host=8"]);
        let child = tdl.spawn();
        wait_for(|| ["x", "y"].iter().all(|name| claimed(&tdl, name).len() >= 2));
        let before = server.requests().len();
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait_with_output().unwrap();
        opened.open();
        let claims = ["x", "y"].map(|name| claimed(&tdl, name));
        let output = Output::from(tdl.respawn(&urls, &[mode])).assert_code(0);
        for (seed, name) in ["x", "y"].iter().enumerate() {
            assert!(tdl.read(name) == content(seed, 8 * MIB), "{name} {mode}");
        }
        assert_eq!(tdl.names(), ["x", "y"]);
        assert!(output.stdout.contains("  resumed "), "{}", output.stdout);
        // Claimed bytes are not requested again.
        for request in &server.requests()[before..] {
            let claims = &claims[usize::from(request.target == "/y")];
            let (from, _) = request.range(8 * MIB).expect("each request has a range");
            assert!(claims.iter().all(|(start, end)| from < *start || from >= *end), "{request:?} {claims:?}");
        }
    }
}
