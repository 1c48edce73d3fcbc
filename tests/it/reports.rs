//! Output: results on standard output, progress and messages on standard error.

use std::collections::HashMap;

use serde_json::Value;

use crate::command::{fetch, fetch_in};
use crate::mode::{Mode, in_both_modes};
use crate::server::{Reply, Server};

/// A server with a file, a missing one and a redirect.
fn mixed() -> Server {
    Server::start(|request| match request.target.as_str() {
        "/missing" => Reply::status(404),
        "/moved" => Reply::redirect("/good"),
        target => Reply::ok(target),
    })
}

fn mixed_urls(server: &Server) -> [String; 4] {
    ["/good", "/missing", "/moved", "/there"].map(|path| server.url(path))
}

#[test]
fn a_pipe_gets_a_line_per_change_without_escape_codes() {
    let server = mixed();
    for style in ["auto", "bars", "plain"] {
        let mut tdl = fetch().args(mixed_urls(&server)).args(["--progress", style]).file("out/there", "");
        let output = tdl.run().assert_code(1);
        let shown = format!("{}{}", output.stdout, output.stderr);
        assert!(!shown.contains(['\x1b', '\r']), "{shown:?}");
        let mut lines: Vec<_> = output.stderr.lines().map(|line| line.replace(&server.url(""), "")).collect();
        lines.sort();
        assert_eq!(lines.len(), 7, "{lines:?}");
        assert!(lines[0].starts_with("/good: fetched, 5 B in "), "{}", lines[0]);
        assert_eq!(lines[1], "/good: started");
        assert_eq!(lines[2], "/missing: failed: the server responded with 404 Not Found");
        assert_eq!(lines[3], "/missing: started");
        assert_eq!(lines[6], "/there: skipped, there exists, not checked");
    }
}

#[test]
fn the_summary_says_how_each_time_is_known() {
    let server = Server::start(|_| Reply::ok("x").after(std::time::Duration::from_millis(50)));
    let urls = ["/a", "/b", "/c"].map(|path| server.url(path));
    let lines = |mode: &str| {
        let output = fetch().args(&urls).arg(mode).run().assert_code(0);
        output.stdout.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let concurrent = lines("--jobs=64");
    assert!(concurrent[0].starts_with("3 of 3 files are there: all fetched"), "{concurrent:?}");
    assert!(
        concurrent[2].starts_with("  concurrent ") && concurrent[2].ends_with(" s   measured; 3 threads"),
        "{concurrent:?}"
    );
    assert!(concurrent[3].starts_with("  sequential "), "{concurrent:?}");
    assert!(concurrent[3].contains("at most: the downloads' own times added up"), "{concurrent:?}");
    let sequential = lines("--sequential");
    assert!(sequential[2].contains("at least: the longest download's own time"), "{sequential:?}");
    assert!(sequential[3].ends_with("measured; one after another"), "{sequential:?}");
}

#[test]
fn quiet_and_none_show_failures_only() {
    let server = mixed();
    let failure = format!("{}: failed: the server responded with 404 Not Found\n", server.url("/missing"));
    let quiet = fetch().args(mixed_urls(&server)).arg("-q").run().assert_code(1);
    assert_eq!((quiet.stdout.as_str(), &quiet.stderr), ("", &failure));
    let none = fetch().args(mixed_urls(&server)).args(["--progress", "none"]).run().assert_code(1);
    assert_eq!(none.stderr, failure);
    assert!(none.stdout.starts_with("3 of 4 files"), "{}", none.stdout);
}

#[test]
fn verbose_reports_redirects_and_checks() {
    let server = mixed();
    let output = fetch().args([&server.url("/moved"), "-v"]).run().assert_code(0);
    assert!(output.stderr.contains(&format!("/moved: redirected to {}\n", server.url("/good"))), "{}", output.stderr);
    assert!(output.stderr.contains("status 200, attempts 1; length matches the announced one\n"), "{}", output.stderr);
}

in_both_modes!(json_lines_report_every_change);
fn json_lines_report_every_change(mode: Mode) {
    let server = mixed();
    let mut tdl = fetch_in(mode).args(mixed_urls(&server)).args(["--json", "--jobs=4"]).file("out/there", "");
    let output = tdl.run().assert_code(1);
    let records: Vec<Value> = output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut counts = HashMap::new();
    for record in &records {
        *counts.entry(record["event"].as_str().unwrap()).or_insert(0) += 1;
    }
    let expected = [("planned", 4), ("started", 3), ("finished", 2), ("failed", 1), ("skipped", 1), ("summary", 1)];
    assert_eq!(counts, HashMap::from(expected));

    let of = |event: &str, out: &str| records.iter().find(|r| r["event"] == event && r["out"] == out).unwrap();
    let good = of("finished", "good");
    assert_eq!((&good["id"], &good["url"]), (&0.into(), &server.url("/good").into()));
    assert_eq!((&good["path"], &good["bytes"], &good["status"]), (&"out/good".into(), &5.into(), &200.into()));
    assert_eq!((&good["attempts"], &good["checked"]), (&1.into(), &true.into()));
    assert!(good["seconds"].as_f64().unwrap() > 0.0);
    let missing = of("failed", "missing");
    assert_eq!((&missing["kind"], &missing["temporary"]), (&"status".into(), &false.into()));
    assert_eq!(
        (&missing["status"], &missing["error"]),
        (&404.into(), &"the server responded with 404 Not Found".into())
    );
    let summary = records.last().unwrap();
    assert_eq!((&summary["fetched"], &summary["skipped"], &summary["failed"]), (&2.into(), &1.into(), &1.into()));
    assert_eq!(
        (&summary["bytes"], &summary["threads"]),
        (&10.into(), &(if mode.is_sequential() { 1 } else { 4 }).into())
    );
    assert_eq!(summary["mode"], if mode.is_sequential() { "sequential" } else { "concurrent" });
}

#[test]
fn json_keeps_urls_whole() {
    let server = Server::echo();
    let url = server.url("/x?token=secret");
    let output = fetch().args([&url, "--json"]).run().assert_code(0);
    assert!(output.stdout.contains(&format!(r#""url":"{url}""#)), "{}", output.stdout);
    assert!(!output.stderr.contains("secret"), "{}", output.stderr);
}

#[test]
fn a_closed_standard_output_stops_no_download() {
    let server = Server::echo();
    let urls = (0..200).map(|number| server.url(&format!("/{number}")));
    let mut tdl = fetch().args(urls).arg("--json");
    let mut child = tdl.spawn();
    drop(child.stdout.take());
    let stderr = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert!(child.wait().unwrap().success(), "{stderr}");
    assert!(!stderr.contains("panic"), "{stderr}");
    assert_eq!(tdl.names().len(), 200);
}

#[test]
fn closed_streams_are_tolerated() {
    let server = Server::echo();
    let mut tdl = fetch().arg(server.url("/x"));
    let mut child = tdl.spawn();
    drop((child.stdout.take(), child.stderr.take()));
    assert!(child.wait().unwrap().success());
    assert_eq!(tdl.read("x"), b"/x");
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let server = Server::echo();
    for argument in ["--json", "--dry-run", "--progress=none"] {
        let mut tdl = fetch().args([&server.url("/x"), argument]).into_full_device();
        let output = tdl.run().assert_code(1);
        assert!(
            output.stderr.contains("cannot write to standard output: No space left on device"),
            "{}",
            output.stderr
        );
        assert_eq!(tdl.names().len(), usize::from(argument != "--dry-run"));
    }
}
