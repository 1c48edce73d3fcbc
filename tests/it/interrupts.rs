//! Signals and kills: the run ends within two seconds with its summary, and no partial file gets a final name.

use std::fs::File;
use std::io::Read as _;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use crate::command::traced_process;
use crate::command::{Output, Tdl, bytes_written, content, fetch, fetch_in, wait_for};
use crate::mode::{Mode, in_both_modes};
use crate::server::{Gate, Reply, Server, TIMEOUT};

/// A server of one quick file and others that stall half-way.
fn half_stuck() -> Server {
    Server::start(|request| match request.target.as_str() {
        "/quick" => Reply::ok("quick"),
        _ => Reply::ok(content(1, 200_000)).stall_after(100_000),
    })
}

fn spawn(server: &Server, tdl: Tdl) -> (Tdl, Child) {
    let mut tdl = tdl.args(["/quick", "/stuck1", "/stuck2"].map(|path| server.url(path)));
    let child = tdl.spawn();
    (tdl, child)
}

fn send(child: &Child, signal: i32) {
    let pid = rustix::process::Pid::from_child(child);
    let signal = rustix::process::Signal::from_named_raw(signal).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

in_both_modes!(the_first_signal_ends_the_run_with_its_summary);
fn the_first_signal_ends_the_run_with_its_summary(mode: Mode) {
    for (signal, code) in [(2, 130), (15, 143), (1, 129)] {
        let server = half_stuck();
        let (tdl, child) = spawn(&server, fetch_in(mode).arg("--jobs=3"));
        server.wait_for_requests(if mode.is_sequential() { 2 } else { 3 });
        wait_for(|| tdl.names().contains(&"quick".to_owned()));
        let sent = Instant::now();
        send(&child, signal);
        let output = Output::from(child).assert_code(code);
        // Two seconds are promised. A busy machine may need more, but a run stuck in a read would need 30.
        assert!(sent.elapsed() < TIMEOUT / 2, "{:?}", sent.elapsed());
        assert!(output.stdout.starts_with("1 of 3 files are there: 1 fetched\n"), "{}", output.stdout);
        assert!(output.stdout.contains("  not done           2   the run ended first\n"), "{}", output.stdout);
        assert!(output.stdout.ends_with("\ninterrupted; run the same command to go on\n"), "{}", output.stdout);
        assert_eq!(tdl.final_names(), ["quick"]);
    }
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs strace"]
fn a_signal_during_the_installation_of_handlers_is_not_lost() {
    use rustix::process::{Signal, kill_process};

    let server = half_stuck();
    let slowly = ["-f", "-o", "/dev/null", "-e", "trace=rt_sigaction", "-e", "inject=rt_sigaction:delay_exit=100000"];
    let mut tdl = fetch().args([&server.url("/stuck"), "--max-time", "30s"]).under("strace").prefix_args(&slowly);
    let tracer = tdl.spawn();
    // A bit set of the signals that have handlers; SIGINT is bit 1.
    let catches = || {
        let pid = traced_process(&tracer)?.as_raw_nonzero();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        u64::from_str_radix(caught.trim(), 16).ok()
    };
    wait_for(|| catches().is_some_and(|caught| caught & 2 != 0));
    kill_process(traced_process(&tracer).unwrap(), Signal::INT).unwrap();
    // If the signal is lost, --max-time ends the run with 75.
    Output::from(tracer).assert_code(130);
}

#[test]
fn the_second_signal_ends_at_once() {
    let server = half_stuck();
    let (tdl, mut child) = spawn(&server, fetch());
    // Both downloads are stuck in a read, so after the first signal alone the run would wait, then print its summary.
    let is_stuck = |name: &str| bytes_written(&tdl.out().join(name)) > 99_000;
    wait_for(|| is_stuck("stuck1.part") && is_stuck("stuck2.part"));
    send(&child, 2);
    // Two pending signals of one kind are delivered as one, so repeat it until the first has been handled.
    wait_for(|| {
        send(&child, 2);
        child.try_wait().unwrap().is_some()
    });
    let output = Output::from(child).assert_code(130);
    assert_eq!(output.stdout, "", "no summary is printed");
}

#[test]
fn a_signal_ignored_at_start_stays_ignored() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let server = Server::start(move |_| Reply::ok(content(1, 200_000)).held_after(100_000, &held));
    let mut tdl = fetch().arg(server.url("/x")).under("nohup");
    let mut child = tdl.spawn();
    wait_for(|| tdl.names().contains(&"x.part".to_owned()));
    send(&child, 1);
    // A signal that is not ignored ends the run within two seconds.
    std::thread::sleep(Duration::from_secs(2));
    assert!(child.try_wait().unwrap().is_none(), "the signal ended the run");
    gate.open();
    Output::from(child).assert_code(0);
    assert_eq!(tdl.read("x"), content(1, 200_000));
}

#[test]
fn an_interrupted_comparison_reports_its_current_run_and_removes_its_scratch() {
    let stuck = half_stuck();
    let dripping = Server::start(|request| match request.target.as_str() {
        "/quick" => Reply::ok("quick"),
        _ => Reply::ok(content(1, 400_000)).drip(4000, Duration::from_millis(20)),
    });
    for server in [&stuck, &dripping] {
        let (tdl, child) = spawn(server, fetch().arg("--compare"));
        server.wait_for_requests(2);
        send(&child, 2);
        let output = Output::from(child).assert_code(130);
        let words =
            "interrupted during the sequential run, whose files are not kept\n1 of 3 files are there: 1 fetched\n";
        assert!(output.stdout.starts_with(words), "{}", output.stdout);
        assert!(!output.stderr.contains("concurrently"), "{}", output.stderr);
        assert!(tdl.names().is_empty(), "{:?}: {output:?}", tdl.names());
        assert_eq!(server.requests().len(), 2);
    }
}

#[test]
fn an_unread_pipe_does_not_block_an_interrupted_run() {
    let server = Server::echo();
    let mut tdl = fetch().args((0..3000).map(|number| server.url(&format!("/{number}")))).arg("--json");
    let mut child = tdl.spawn();
    // The planned records alone fill the pipe.
    let waiting = || rustix::io::ioctl_fionread(child.stdout.as_ref().unwrap()).unwrap();
    wait_for(|| waiting() > 60_000);
    let sent = Instant::now();
    send(&child, 15);
    let status = child.wait().unwrap();
    assert!(sent.elapsed() < TIMEOUT / 2, "{:?}", sent.elapsed());
    assert_eq!(status.code(), Some(143));
}

#[test]
fn killed_runs_leave_whole_files_or_none_and_the_next_run_completes_them() {
    let server = Server::start(|request| {
        let number: usize = request.target[1..].parse().unwrap();
        Reply::ok(content(number, 60_000)).drip(10_000, Duration::from_millis(2))
    });
    let mut tdl = fetch().args((0..40).map(|number| server.url(&format!("/{number}")))).arg("-j4");
    for round in 1..=4 {
        let mut child = tdl.spawn();
        server.wait_for_requests(round * 8);
        child.kill().unwrap();
        child.wait().unwrap();
        for name in tdl.names().iter().filter(|name| !name.contains(".part")) {
            assert_eq!(tdl.read(name), content(name.parse().unwrap(), 60_000), "{name}");
        }
    }
    tdl.run().assert_code(0);
    assert_eq!(tdl.names().len(), 40);
    for number in 0..40 {
        assert_eq!(tdl.read(&number.to_string()), content(number, 60_000));
    }
}

#[test]
fn the_final_name_never_has_a_partial_file() {
    let server = Server::start(|_| Reply::ok(content(1, 300_000)).drip(20_000, Duration::from_millis(10)));
    let mut tdl = fetch().arg(server.url("/x"));
    let mut child = tdl.spawn();
    while child.try_wait().unwrap().is_none() {
        if let Ok(mut file) = File::open(tdl.out().join("x")) {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len(), 300_000);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Output::from(child).assert_code(0);
    assert_eq!(tdl.names(), ["x"]);
}
