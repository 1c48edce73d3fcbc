//! A list that is still being written while its first files are downloaded.

use std::io::Write as _;
use std::process::{Child, ChildStdin};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tdl::{CancelToken, Event, Item, Options, Plan, WebUrl, run_growing};

use crate::command::{Output, Tdl, fetch, fetch_in, wait_for, wait_for_stderr};
use crate::mode::{Mode, in_both_modes};
use crate::server::{Gate, Reply, Server, TIMEOUT};

/// A `tdl fetch -i -` that runs, and its standard input.
fn start(tdl: Tdl) -> (Tdl, Child, ChildStdin) {
    let mut tdl = tdl.args(["-i", "-"]);
    let (child, stdin) = tdl.spawn_with_stdin();
    (tdl, child, stdin)
}

fn write(stdin: &mut ChildStdin, line: &str) {
    stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Waits for the end of a run whose standard input stays open.
fn while_open(child: Child, _stdin: &ChildStdin) -> Output {
    child.into()
}

in_both_modes!(each_file_is_fetched_when_its_line_comes);
fn each_file_is_fetched_when_its_line_comes(mode: Mode) {
    let server = Server::echo();
    let (tdl, child, mut stdin) = start(fetch_in(mode));
    let mut names = Vec::new();
    for number in 1..=4 {
        write(&mut stdin, &server.url(&format!("/{number}")));
        names.push(number.to_string());
        wait_for(|| tdl.names() == names);
    }
    drop(stdin);
    let output = Output::from(child).assert_code(0);
    assert!(output.stdout.starts_with("4 of 4 files are there: all fetched\n"), "{}", output.stdout);
    assert!(!output.stdout.contains("sequential "), "the list was what took the time: {}", output.stdout);
    assert_eq!(server.requests().len(), 4);
}

in_both_modes!(a_bad_line_fails_when_it_is_read_and_the_rest_goes_on);
fn a_bad_line_fails_when_it_is_read_and_the_rest_goes_on(mode: Mode) {
    let server = Server::echo();
    let (tdl, mut child, mut stdin) = start(fetch_in(mode));
    write(&mut stdin, &server.url("/a"));
    wait_for(|| tdl.names() == ["a"]);
    write(&mut stdin, "# a comment\nexample.com/b");
    let message = "standard input:3: failed: 'example.com/b' is not an absolute URL";
    wait_for_stderr(&mut child, message);
    write(&mut stdin, &server.url("/c"));
    wait_for(|| tdl.names() == ["a", "c"]);
    drop(stdin);
    let output = Output::from(child).assert_code(1);
    assert!(output.stdout.starts_with("2 of 3 files are there: 2 fetched\n"), "{}", output.stdout);
    let listed = "1 failed:\n  standard input:3: 'example.com/b' is not an absolute URL; did you mean";
    assert!(output.stdout.contains(listed), "{}", output.stdout);
}

#[test]
fn a_bad_first_line_fails_as_well() {
    let server = Server::echo();
    let mut tdl = fetch().args(["-i", "-"]).input(&format!("nonsense\n{}\n", server.url("/a")));
    let output = tdl.run().assert_code(1);
    assert_eq!(tdl.names(), ["a"]);
    assert!(output.stdout.starts_with("1 of 2 files are there: 1 fetched\n"), "{}", output.stdout);
    let output = fetch().args(["-i", "-"]).input("nonsense\n").run().assert_code(1);
    assert!(output.stdout.starts_with("0 of 1 file is there\n"), "{}", output.stdout);
}

in_both_modes!(after_a_bad_line_fail_fast_starts_nothing_new);
fn after_a_bad_line_fail_fast_starts_nothing_new(mode: Mode) {
    let server = Server::echo();
    let (tdl, child, mut stdin) = start(fetch_in(mode).arg("--fail-fast"));
    write(&mut stdin, &server.url("/a"));
    wait_for(|| tdl.names() == ["a"]);
    write(&mut stdin, "nonsense");
    // The writer has not closed it.
    let output = while_open(child, &stdin).assert_code(1);
    assert!(output.stdout.starts_with("1 of 2 files are there: 1 fetched\n"), "{}", output.stdout);
    assert!(output.stdout.contains("the list was not read to its end: there may be more files\n"), "{}", output.stdout);
}

in_both_modes!(after_a_failure_fail_fast_waits_for_no_more_lines);
fn after_a_failure_fail_fast_waits_for_no_more_lines(mode: Mode) {
    let server = Server::start(|_| Reply::status(404));
    let (_tdl, child, mut stdin) = start(fetch_in(mode).arg("--fail-fast"));
    write(&mut stdin, &server.url("/a"));
    let output = while_open(child, &stdin).assert_code(1);
    assert!(output.stdout.starts_with("0 of 1 file is there\n"), "{}", output.stdout);
}

#[test]
fn a_duplicate_is_skipped_and_clashing_names_are_numbered_in_the_order_of_arrival() {
    let (server, other) = (Server::echo(), Server::start(|_| Reply::ok("other")));
    let (tdl, child, mut stdin) = start(fetch().args([&server.url("/x")]));
    write(&mut stdin, &other.url("/x"));
    wait_for(|| tdl.names() == ["x", "x-2"]);
    write(&mut stdin, &format!("{}\n{}\n{}", server.url("/x"), other.url("/x"), other.url("/X")));
    drop(stdin);
    let output = Output::from(child).assert_code(0);
    assert_eq!(tdl.names(), ["X-3", "x", "x-2"]);
    assert_eq!((tdl.read("x"), tdl.read("x-2")), (b"/x".to_vec(), b"other".to_vec()));
    assert!(output.stderr.contains("warning: 2 duplicate URLs skipped\n"), "{}", output.stderr);
    assert_eq!((server.requests().len(), other.requests().len()), (1, 2));
}

in_both_modes!(a_producer_of_many_lines);
fn a_producer_of_many_lines(mode: Mode) {
    const LINES: usize = 10_000;
    let server = Server::echo();
    let (tdl, child, mut stdin) = start(fetch_in(mode).arg("-q"));
    let urls: String = (0..LINES).map(|number| server.url(&format!("/{number}")) + "\n").collect();
    // It is taken from the pipe although the files are not there yet.
    stdin.write_all(urls.as_bytes()).unwrap();
    drop(stdin);
    Output::from(child).assert_code(0);
    assert_eq!((tdl.names().len(), server.requests().len()), (LINES, LINES));
}

#[test]
fn there_are_as_many_threads_as_files_so_far() {
    let server = Server::echo();
    let (tdl, child, mut stdin) = start(fetch().args(["--json", "-j3"]));
    for number in 0..5 {
        write(&mut stdin, &server.url(&format!("/{number}")));
        wait_for(|| tdl.names().len() == number + 1);
    }
    drop(stdin);
    let output = Output::from(child).assert_code(0);
    let records: Vec<serde_json::Value> =
        output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &str| records.iter().filter(|record| record["event"] == event).count();
    assert_eq!((of("planned"), of("started"), of("finished")), (5, 5, 5));
    let summary = records.last().unwrap();
    assert_eq!((&summary["threads"], &summary["list_complete"]), (&3.into(), &true.into()));
}

#[test]
fn a_bad_line_has_a_record() {
    let server = Server::echo();
    let input = format!("{}\nnonsense\n", server.url("/a"));
    let output = fetch().args(["-i", "-", "--json"]).input(&input).run().assert_code(1);
    let record = r#"{"event":"invalid","place":"standard input:2","error":"'nonsense' is not an absolute URL; --base URL resolves relative references"}"#;
    assert!(output.stdout.lines().any(|line| line == record), "{}", output.stdout);
}

#[test]
fn what_is_known_at_first_is_checked_before_standard_input_is_waited_for() {
    let server = Server::echo();
    let tdl = fetch().args([&server.url("/a"), "-i", "list"]).file("list", "nonsense\n");
    let (_tdl, child, stdin) = start(tdl);
    let output = while_open(child, &stdin).assert_code(2);
    assert!(
        output
            .stderr
            .starts_with("error: list:1: 'nonsense' is not an absolute URL; --base URL resolves relative references"),
        "{}",
        output.stderr
    );
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn an_empty_standard_input_is_nothing_to_download() {
    for input in ["", "\n\n", "# nothing\n"] {
        let mut tdl = fetch().args(["-i", "-"]).input(input);
        let output = tdl.run().assert_code(2);
        assert_eq!(
            (output.stdout.as_str(), output.stderr.as_str()),
            ("", "error: nothing to download: pass URLs, or a list with -i FILE\n")
        );
        assert!(!tdl.out().exists());
    }
    let server = Server::echo();
    fetch().args([&server.url("/a"), "-i", "-"]).input("").run().assert_code(0);
}

#[cfg(unix)]
#[test]
fn a_standard_input_that_cannot_be_read_is_an_error_before_anything_started_and_a_failure_after() {
    let server = Server::echo();
    let mut tdl = fetch().args(["-i", "-"]).stdin_from("/");
    let output = tdl.run().assert_code(2);
    assert!(output.stderr.starts_with("error: standard input: cannot read the list: "), "{}", output.stderr);
    let mut tdl = fetch().args([&server.url("/a"), "-i", "-"]).stdin_from("/");
    let output = tdl.run().assert_code(1);
    assert!(output.stdout.contains("standard input:1: cannot read the rest of the list: "), "{}", output.stdout);
    assert_eq!(tdl.names(), ["a"]);
}

in_both_modes!(the_end_of_the_list_is_known_while_files_are_fetched);
fn the_end_of_the_list_is_known_while_files_are_fetched(mode: Mode) {
    let gate = std::sync::Arc::new(Gate::default());
    let held = std::sync::Arc::clone(&gate);
    let server = Server::start(move |_| Reply::ok("x").held_until(&held));
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.output.directory = dir.path().to_owned();
    if mode.is_sequential() {
        options.limits.mode = tdl::options::Mode::Sequential;
    }
    let (tx, list) = mpsc::channel();
    for number in 0..3 {
        tx.send(Item::from(WebUrl::parse(&server.url(&format!("/{number}"))).unwrap())).unwrap();
    }
    drop(tx);
    let events = std::sync::Mutex::new(Vec::new());
    let reporter = |event: &Event<'_>| match event {
        // The first file cannot be there yet.
        Event::ListEnded(plan) => {
            events.lock().unwrap().push(format!("ended {}", plan.len()));
            gate.open();
        }
        Event::Finished(..) => events.lock().unwrap().push("finished".to_owned()),
        _ => {}
    };
    run_growing(&Plan::default(), list, &options, &reporter, &CancelToken::new()).unwrap();
    assert_eq!(events.into_inner().unwrap(), ["ended 3", "finished", "finished", "finished"]);
}

#[test]
fn a_line_without_an_end_is_a_failure() {
    let long = "x".repeat(2 << 20);
    let (_, output) = run_with_long_input(fetch(), &long);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert_eq!(output.stderr, "standard input:1: failed: the line is too long: is this a list?\n");
    let server = Server::echo();
    let (tdl, output) = run_with_long_input(fetch(), &format!("{}\n{long}", server.url("/a")));
    assert_eq!((output.code, tdl.names()), (Some(1), vec!["a".to_owned()]), "{output:?}");
    let listed = "standard input:2: the line is too long: is this a list?";
    assert!(output.stdout.contains(listed), "{}", output.stdout);
}

fn run_with_long_input(tdl: Tdl, input: &str) -> (Tdl, Output) {
    let (tdl, child, mut stdin) = start(tdl);
    // It may stop reading before the end.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    (tdl, child.into())
}

in_both_modes!(the_maximum_time_ends_a_run_whose_list_is_silent);
fn the_maximum_time_ends_a_run_whose_list_is_silent(mode: Mode) {
    let server = Server::echo();
    for lines in [0, 1] {
        let started = Instant::now();
        let (tdl, child, mut stdin) = start(fetch_in(mode).args(["--max-time", "1s"]));
        if lines > 0 {
            write(&mut stdin, &server.url("/a"));
        }
        let output = while_open(child, &stdin).assert_code(75);
        assert!(started.elapsed() >= Duration::from_secs(1) && started.elapsed() < TIMEOUT / 2);
        assert!(output.stdout.starts_with(&format!("{lines} of {lines} file")), "{}", output.stdout);
        assert!(output.stdout.contains("the list was not read to its end"), "{}", output.stdout);
        assert_eq!(tdl.names().len(), lines);
    }
}

#[cfg(unix)]
in_both_modes!(a_signal_ends_a_run_that_waits_for_its_list);
#[cfg(unix)]
fn a_signal_ends_a_run_that_waits_for_its_list(mode: Mode) {
    let server = Server::echo();
    let (tdl, child, mut stdin) = start(fetch_in(mode));
    write(&mut stdin, &server.url("/a"));
    wait_for(|| tdl.names() == ["a"]);
    let sent = Instant::now();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let output = while_open(child, &stdin).assert_code(130);
    assert!(sent.elapsed() < TIMEOUT / 2, "{:?}", sent.elapsed());
    assert!(output.stdout.starts_with("1 of 1 file is there: fetched\n"), "{}", output.stdout);
    assert!(output.stdout.ends_with("\ninterrupted; run the same command to go on\n"), "{}", output.stdout);
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_ends_a_run_whose_list_has_not_begun() {
    let (tdl, child, stdin) = start(fetch());
    // A bit set of the signals that have handlers; SIGINT is bit 1.
    let catches = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & 2 != 0
    };
    wait_for(catches);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let output = while_open(child, &stdin).assert_code(130);
    assert_eq!(output.stdout, "0 of 0 files are there\ninterrupted; run the same command to go on\n");
    assert!(!tdl.out().exists());
}

#[test]
fn a_credential_for_several_servers_is_warned_of_when_the_second_comes() {
    let (one, two) = (Server::echo(), Server::echo());
    let (tdl, mut child, mut stdin) = start(fetch().args(["-H", "Authorization: secret"]));
    write(&mut stdin, &one.url("/a"));
    wait_for(|| tdl.names() == ["a"]);
    write(&mut stdin, &two.url("/b"));
    let warning = "warning: the header Authorization will be sent to every server in the list";
    let shown = wait_for_stderr(&mut child, warning);
    assert_eq!(shown.matches("warning").count(), 1, "{shown}");
    drop(stdin);
    Output::from(child).assert_code(0);
}

#[test]
fn a_dry_run_and_a_comparison_read_standard_input_to_its_end_first() {
    let server = Server::echo();
    let input = format!("{}\nnonsense\n", server.url("/a"));
    for option in ["--dry-run", "--compare"] {
        let output = fetch().args(["-i", "-", option]).input(&input).run().assert_code(2);
        assert!(output.stderr.starts_with("error: standard input:2: 'nonsense' is"), "{}", output.stderr);
    }
    assert_eq!(server.requests().len(), 0);
}

in_both_modes!(the_library_reports_what_is_added_and_takes_nothing_after_a_stop);
fn the_library_reports_what_is_added_and_takes_nothing_after_a_stop(mode: Mode) {
    let server = Server::echo();
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.output.directory = dir.path().to_owned();
    if mode.is_sequential() {
        options.limits.mode = tdl::options::Mode::Sequential;
    }
    let url = |path: &str| Item::from(WebUrl::parse(&server.url(path)).unwrap());
    let (tx, list) = mpsc::channel();
    let cancel = CancelToken::new();
    let (events_tx, events) = mpsc::channel();
    let events_tx = std::sync::Mutex::new(events_tx);
    let reporter = |event: &Event<'_>| {
        let text = match event {
            Event::Planned { plan, is_list_open, .. } => format!("planned {} {is_list_open}", plan.len()),
            Event::Added(download) => format!("added {}", download.target()),
            Event::Invalid { place, problem, .. } => format!("invalid {place} {problem}"),
            Event::Finished(download, _) => format!("finished {}", download.target()),
            Event::ListEnded(_) => "ended".to_owned(),
            _ => return,
        };
        events_tx.lock().unwrap().send(text).unwrap();
    };
    let plan = Plan::default();
    let summary = std::thread::scope(|scope| {
        let run = scope.spawn(|| run_growing(&plan, list, &options, &reporter, &cancel).unwrap());
        tx.send(url("/a")).unwrap();
        for event in ["planned 1 true", "finished a"] {
            assert_eq!(events.recv_timeout(TIMEOUT).unwrap(), event);
        }
        tx.send(Item::invalid(7, "no")).unwrap();
        tx.send(url("/b")).unwrap();
        for event in ["invalid 7 no", "added b", "finished b"] {
            assert_eq!(events.recv_timeout(TIMEOUT).unwrap(), event);
        }
        cancel.cancel();
        // The sender lives on, and what it sends is not taken.
        run.join().unwrap()
    });
    assert!(tx.send(url("/c")).is_err(), "the list is closed");
    assert_eq!((summary.total, summary.fetched, summary.failed_permanently), (3, 2, 1));
    assert!(summary.is_list_open);
    assert!(events.try_recv().is_err());
}
