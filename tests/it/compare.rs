//! `--compare`: measures both modes, compares their bytes and leaves nothing else behind.

use std::time::Duration;

use serde_json::Value;

#[cfg(target_os = "linux")]
use crate::command::traced_process;
use crate::command::{Output, content, fetch, names, wait_for};
use crate::server::{Reply, Server};

#[test]
fn both_runs_are_measured_and_the_scratch_is_removed() {
    let server = Server::start(|request| {
        let number = request.target[1..].parse().unwrap();
        Reply::ok(content(number, 1000 * number)).after(Duration::from_millis(60))
    });
    let mut tdl = fetch().args((0..8).map(|number| server.url(&format!("/{number}")))).arg("--compare");
    let output = tdl.run().assert_code(0);
    assert_eq!(tdl.names(), ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(tdl.read("7"), content(7, 7000));
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(lines[0], "8 of 8 files are there: all fetched");
    assert!(lines[2].starts_with("  sequential ") && lines[2].ends_with("measured; this run went first"), "{lines:?}");
    assert!(lines[3].starts_with("  concurrent ") && lines[3].ends_with("measured; 8 threads"), "{lines:?}");
    assert!(lines[4].starts_with("  speed-up ") && lines[4].ends_with("x; both runs got the same bytes"), "{lines:?}");
    let requests = server.requests();
    assert_eq!(requests.len(), 16);
    let in_order: Vec<_> = requests[..8].iter().map(|request| request.target.as_str()).collect();
    assert_eq!(in_order, ["/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7"], "the sequential run goes first");
}

#[test]
fn json_reports_both_measured_times() {
    let server = Server::start(|_| Reply::ok("x").after(Duration::from_millis(50)));
    let urls = ["/a", "/b", "/c", "/d"].map(|path| server.url(path));
    let output = fetch().args(urls).args(["--compare", "--json"]).run().assert_code(0);
    let records: Vec<Value> = output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let finished = |pass: &str| records.iter().filter(|r| r["event"] == "finished" && r["pass"] == pass).count();
    assert_eq!((finished("sequential"), finished("concurrent")), (4, 4));
    let summary = records.last().unwrap();
    assert_eq!((&summary["mode"], &summary["same"]), (&"compare".into(), &4.into()));
    let time = |name: &str| summary[name].as_f64().unwrap();
    let ratio = time("sequential_seconds") / time("concurrent_seconds");
    assert!((ratio - time("speed_up")).abs() < 0.01, "{summary}");
}

#[test]
fn existing_targets_are_refused() {
    let server = Server::echo();
    let mut tdl = fetch().args([&server.url("/a"), "--compare"]).file("out/a", "the user's");
    let output = tdl.run().assert_code(2);
    assert!(output.stderr.starts_with("error: out/a already exists; --compare "), "{}", output.stderr);
    assert_eq!((server.requests().len(), tdl.read("a")), (0, b"the user's".to_vec()));
}

#[test]
fn different_bytes_are_a_failure() {
    let server = Server::start(|request| match request.target.as_str() {
        "/clock?key=secret" => Reply::ok(request.number.to_string()),
        target => Reply::ok(target),
    });
    let urls = ["/same", "/clock?key=secret"].map(|path| server.url(path));
    for quiet in [false, true] {
        let mut tdl = fetch().args(&urls).arg("--compare").args(quiet.then_some("-q"));
        let output = tdl.run().assert_code(1);
        let message = format!("{}?key=***: the two runs got different bytes\n", server.url("/clock"));
        let (shown_in, other) = if quiet { (&output.stderr, &output.stdout) } else { (&output.stdout, &output.stderr) };
        assert!(shown_in.contains(&message) && !other.contains(&message), "{output:?}");
        assert!(quiet || output.stdout.contains("unknown: the two runs did not get the same files"), "{output:?}");
        assert_eq!(tdl.names(), ["clock", "same"]);
    }
}

#[test]
fn a_failure_in_one_run_is_reported_without_a_speed_up() {
    let server = Server::start(|request| match (request.target.as_str(), request.number) {
        ("/flaky", 0..=1) => Reply::status(404),
        (target, _) => Reply::ok(target),
    });
    let mut tdl = fetch().args([&server.url("/a"), &server.url("/flaky"), "--compare"]);
    let output = tdl.run().assert_code(1);
    assert!(output.stdout.starts_with("2 of 2 files are there"), "{}", output.stdout);
    assert!(output.stdout.contains("/flaky: only one of the runs got it\n"), "{}", output.stdout);
    assert!(output.stdout.contains("unknown: "), "{}", output.stdout);
    assert_eq!(tdl.names(), ["a", "flaky"]);
}

#[test]
fn what_neither_run_got_is_named_and_does_not_count() {
    let server = Server::start(|request| match request.target.as_str() {
        "/dead" => Reply::status(503).after(Duration::from_millis(100)),
        target => Reply::ok(target).after(Duration::from_millis(100)),
    });
    let urls = ["/a", "/dead", "/b", "/c"].map(|path| server.url(path));
    let output = fetch().args(urls).args(["--compare", "--retries=1"]).run().assert_code(75);
    assert!(output.stdout.starts_with("3 of 4 files are there: 3 fetched\n"), "{}", output.stdout);
    assert!(output.stdout.contains("x; both runs got the same bytes of the same 3 files\n"), "{}", output.stdout);
    assert!(output.stdout.contains("/dead: neither run got it\n"), "{}", output.stdout);
    assert!(
        output.stdout.contains("measured; this run went first, without what the failures took\n"),
        "{}",
        output.stdout
    );
}

#[test]
fn one_file_has_no_speed_up() {
    let server = Server::echo();
    let output = fetch().args([&server.url("/x"), "--compare"]).run().assert_code(0);
    assert!(output.stdout.contains("  speed-up    none: there is only one file"), "{}", output.stdout);
}

#[test]
fn a_comparison_that_times_out_in_its_first_run_reports_no_second() {
    let server = Server::start(|_| Reply::ok(content(1, 1_000_000)).drip(1000, Duration::from_millis(50)));
    let mut tdl = fetch().args([&server.url("/a"), &server.url("/b"), "--compare", "--max-time=1s"]);
    let output = tdl.run().assert_code(75);
    assert!(output.stdout.starts_with("interrupted during the sequential run"), "{}", output.stdout);
    assert!(!output.stdout.contains("measured"), "{}", output.stdout);
    assert!(tdl.names().is_empty());
}

/// A server whose `/slow` never ends.
fn with_a_stuck_file() -> Server {
    Server::start(|request| match request.target.as_str() {
        "/slow" => Reply::ok(content(1, 100_000)).stall_after(90_000),
        target => Reply::ok(target),
    })
}

#[test]
fn any_run_removes_what_a_killed_comparison_left() {
    let server = with_a_stuck_file();
    for arguments in [&[][..], &["--compare"]] {
        let mut tdl = fetch().args(["/a", "/slow"].map(|path| server.url(path))).arg("--compare");
        let mut child = tdl.spawn();
        let scratch = tdl.out().join(".tdl-compare");
        let has_begun = || names(&scratch).iter().any(|name| scratch.join(name).join("files/slow.part").exists());
        wait_for(has_begun);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(has_begun());
        tdl.rerun(&[&[server.url("/b").as_str()], arguments].concat()).assert_code(0);
        assert_eq!(tdl.names(), ["b"]);
    }
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs strace"]
fn without_locks_a_scratch_is_removed_once_its_process_has_ended() {
    let server = with_a_stuck_file();
    let under = |tdl: crate::command::Tdl, result: &str| {
        let inject = format!("inject=flock:{result}");
        tdl.under("strace").prefix_args(&["-f", "-o", "/dev/null", "-e", "trace=flock", "-e", &inject])
    };
    for result in ["error=ENOLCK", "retval=0"] {
        let mut first = under(fetch().arg(server.url("/slow")).arg("--compare"), result);
        let tracer = first.spawn();
        let scratch = first.out().join(".tdl-compare");
        wait_for(|| names(&scratch).iter().any(|name| scratch.join(name).join("files/slow.part").exists()));
        let out = first.out();
        let again =
            || under(fetch().args([&server.url("/b"), "-o", out.to_str().unwrap()]), result).run().assert_code(0);
        again();
        assert_eq!(first.names(), [".tdl-compare", "b"], "{result}: it is in use");
        rustix::process::kill_process(traced_process(&tracer).unwrap(), rustix::process::Signal::KILL).unwrap();
        let _ = Output::from(tracer);
        again();
        assert_eq!(first.names(), ["b"], "{result}");
    }
}

#[test]
fn two_comparisons_and_a_plain_run_share_a_directory() {
    let server = Server::start(|request| Reply::ok(request.target.clone()).after(Duration::from_millis(100)));
    let urls = |from: usize| (from..from + 4).map(|number| server.url(&format!("/{number}"))).collect::<Vec<_>>();
    let mut tdl = fetch().args(urls(0)).arg("--compare");
    let first = tdl.spawn();
    server.wait_for_requests(1);
    let second = tdl.respawn(&urls(4), &["--compare"]);
    let plain = tdl.respawn(&urls(8), &[]);
    for child in [first, second] {
        let output = Output::from(child).assert_code(0);
        assert!(output.stdout.contains("both runs got the same bytes"), "{}", output.stdout);
    }
    Output::from(plain).assert_code(0);
    assert_eq!(tdl.names(), ["0", "1", "10", "11", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[test]
fn a_users_own_scratch_directory_survives() {
    let server = Server::echo();
    let mut tdl = fetch().args([&server.url("/a"), "--compare"]).file("out/.tdl-compare/mine", "the user's");
    tdl.run().assert_code(0);
    tdl.rerun(&[&server.url("/b")]).assert_code(0);
    assert_eq!(tdl.names(), [".tdl-compare", "a", "b"]);
    assert_eq!(tdl.read(".tdl-compare/mine"), b"the user's");
    assert_eq!(names(&tdl.out().join(".tdl-compare")), ["mine"]);

    let output = fetch().args([&server.url("/a"), "--compare"]).file("out/.tdl-compare", "a file").run().assert_code(2);
    assert!(output.stderr.starts_with("error: cannot create the directory out/.tdl-compare: "), "{}", output.stderr);
}
