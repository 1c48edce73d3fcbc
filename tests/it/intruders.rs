//! Other processes and users that work in the output directory at the same time.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::command::{Output, TDL, Tdl, bytes_written, content, fetch_in, traced_process, wait_for, wait_for_stderr};
use crate::mode::{Mode, in_both_modes};
use crate::server::{Gate, Reply, Server};

const LENGTH: usize = 1_000_000;
const TAG: &str = "\"one\"";

fn body() -> Vec<u8> {
    content(1, LENGTH)
}

/// A server whose first response stops after 400,000 bytes until the gate is open. Use it with `--no-split`: a second
/// connection would fetch the rest.
fn slow_at_first() -> (Server, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let server = Server::start(move |request| match request.number {
        0 => Reply::file(request, &body(), TAG).held_after(400_000, &held),
        _ => Reply::file(request, &body(), TAG),
    });
    (server, gate)
}

/// Asserts that a run starts over if `disturb` changes its part file once that has `at` bytes.
fn assert_started_over(mode: Mode, at: usize, disturb: impl FnOnce(&fs::File)) {
    let (server, gate) = slow_at_first();
    let mut tdl = fetch_in(mode).args([&server.url("/x"), "--retries", "5", "--no-split"]);
    let child = tdl.spawn();
    let part = tdl.out().join("x.part");
    wait_for(|| bytes_written(&part) >= at);
    disturb(&fs::OpenOptions::new().write(true).open(&part).unwrap());
    gate.open();
    let output = Output::from(child).assert_code(0);
    assert!(output.stderr.contains("out/x.part was changed by another process"), "{}", output.stderr);
    assert!(tdl.read("x") == body(), "{}", output.stderr);
    assert_eq!(tdl.names(), ["x"]);
    assert_eq!(server.requests()[1].header("range"), None, "no byte of the part file is reused");
}

in_both_modes!(a_part_file_truncated_by_another_process_is_fetched_again);
fn a_part_file_truncated_by_another_process_is_fetched_again(mode: Mode) {
    assert_started_over(mode, 200_000, |part| part.set_len(0).unwrap());
    assert_started_over(mode, 200_000, |part| part.set_len(100_000).unwrap());
}

in_both_modes!(a_part_file_extended_by_another_process_is_fetched_again);
fn a_part_file_extended_by_another_process_is_fetched_again(mode: Mode) {
    assert_started_over(mode, 200_000, |part| part.set_len(2 * LENGTH as u64).unwrap());
}

/// Asserts that a part file is not committed if `disturb` changes it after its last check, just before its rename.
fn assert_not_committed(mode: Mode, disturb: impl Fn(&Path), message: &str, kept: &[&str]) {
    let server = Server::start(|request| Reply::file(request, &body(), TAG));
    let mut tdl =
        fetch_in(mode).args([&server.url("/x"), "--retries", "5"]).file("out/other", "the user's").under("strace");
    let delay = "inject=renameat2:delay_enter=3000000";
    tdl = tdl.prefix_args(&["-f", "-o", "/dev/null", "-e", "trace=renameat2", "-e", delay]);
    let strace = tdl.spawn();
    let part = tdl.out().join("x.part");
    wait_for(|| bytes_written(&part) == LENGTH && is_renaming(&strace));
    disturb(&part);
    let output = Output::from(strace).assert_code(0);
    assert!(output.stderr.contains(message), "{}", output.stderr);
    assert!(tdl.read("x") == body(), "{}", output.stderr);
    assert_eq!(tdl.names(), kept);
}

/// Whether a thread of the traced process has entered `renameat2`, where strace delays it.
fn is_renaming(strace: &Child) -> bool {
    let Some(pid) = traced_process(strace) else { return false };
    let threads = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).into_iter().flatten().flatten();
    let calls = threads.filter_map(|thread| fs::read_to_string(thread.path().join("syscall")).ok());
    let number = libc::SYS_renameat2.to_string();
    calls.into_iter().any(|call| call.split(' ').next() == Some(number.as_str()))
}

in_both_modes!(
    #[ignore = "needs strace"]
    a_part_file_replaced_or_truncated_before_its_rename_is_not_committed
);
fn a_part_file_replaced_or_truncated_before_its_rename_is_not_committed(mode: Mode) {
    assert_not_committed(
        mode,
        |part| fs::rename(part.with_file_name("other"), part).unwrap(),
        "out/x.part was removed or replaced by another process",
        &["x", "x.part.kept"],
    );
    assert_not_committed(
        mode,
        |part| fs::File::options().write(true).open(part).unwrap().set_len(100_000).unwrap(),
        "out/x.part was changed by another process",
        &["other", "x"],
    );
}

/// Grants every lock, as on a file system whose locks are local to a machine.
const NO_LOCKS: [&str; 6] = ["-f", "-o", "/dev/null", "-e", "trace=flock", "--inject=flock:retval=0"];

/// `tdl` under `strace` with these arguments, for [`Tdl::respawn_under`].
fn traced<'a>(strace: &[&'a str]) -> Vec<&'a str> {
    [&["strace"], strace, &[TDL]].concat()
}

/// Asserts that the second of two runs that do not see each other's locks finds the part file busy. The second runs
/// through the program `other`.
fn assert_busy_without_locks(mode: Mode, other: &[&str], second_code: i32, retries: &str) {
    let (server, gate) = slow_at_first();
    let url = server.url("/x");
    let tdl = fetch_in(mode).file("out/other", "");
    let first = tdl.respawn_under(&traced(&NO_LOCKS), &[&url, "--no-split"]);
    let part = tdl.out().join("x.part");
    wait_for(|| bytes_written(&part) >= 200_000);
    let prefix = [&NO_LOCKS, other].concat();
    let mut second = tdl.respawn_under(&traced(&prefix), &[&url, "--retries", retries]);
    wait_for_stderr(&mut second, "out/x.part is being written by another process");
    gate.open();
    Output::from(second).assert_code(second_code);
    Output::from(first).assert_code(0);
    assert!(tdl.read("x") == body());
    assert_eq!(tdl.names(), ["other", "x"]);
    assert_eq!(server.requests().len(), 1);
}

in_both_modes!(
    #[ignore = "needs strace"]
    without_locks_the_second_run_waits
);
fn without_locks_the_second_run_waits(mode: Mode) {
    assert_busy_without_locks(mode, &[], 0, "50");
    assert_busy_without_locks(mode, &[], 75, "0");
}

in_both_modes!(
    #[ignore = "needs strace, and root for a process namespace, as another machine would have"]
    a_run_in_another_process_namespace_is_waited_for
);
fn a_run_in_another_process_namespace_is_waited_for(mode: Mode) {
    assert_busy_without_locks(mode, &["unshare", "--pid", "--fork"], 75, "0");
}

in_both_modes!(
    #[ignore = "needs strace, and root for a process namespace, as another machine would have"]
    a_run_in_a_process_namespace_that_is_wrongly_taken_for_dead_does_no_harm
);
/// The first run has only paused. It writes to the part file after the second has taken it over.
fn a_run_in_a_process_namespace_that_is_wrongly_taken_for_dead_does_no_harm(mode: Mode) {
    let gates = [Arc::new(Gate::default()), Arc::new(Gate::default())];
    let held = gates.clone();
    let server = Server::start(move |request| {
        let reply = Reply::file(request, &body(), TAG).drip(50_000, Duration::ZERO);
        match request.number {
            0 => reply.held_after(500_000, &held[0]),
            _ => reply.held_after(250_000, &held[1]),
        }
    });
    let url = server.url("/x");
    let tdl = fetch_in(mode).file("out/other", "");
    let elsewhere = [&NO_LOCKS[..], &["unshare", "--pid", "--fork"]].concat();
    let mut first = tdl.respawn_under(&traced(&elsewhere), &[&url, "--retries", "50", "--no-split"]);
    let sidecar = tdl.out().join("x.part.json");
    wait_for(|| fs::read_to_string(&sidecar).is_ok_and(|text| text.contains("\"done\":[[0,500000]]")));
    // Make it look as if the last checkpoint was over a minute ago.
    let old = SystemTime::now() - Duration::from_secs(61);
    fs::OpenOptions::new().write(true).open(&sidecar).unwrap().set_modified(old).unwrap();
    let second = tdl.respawn_under(&traced(&NO_LOCKS), &[&url, "--retries", "50", "--no-split"]);
    server.wait_for_requests(2);
    assert_eq!(server.requests()[1].header("range"), Some("bytes=500000-"));
    gates[0].open();
    wait_for_stderr(&mut first, "out/x.part is being written by another process");
    gates[1].open();
    Output::from(first).assert_code(0);
    Output::from(second).assert_code(0);
    assert!(tdl.read("x") == body());
    assert_eq!(tdl.names(), ["other", "x"]);
}

in_both_modes!(
    #[ignore = "needs strace"]
    without_locks_a_leftover_is_claimed_before_it_is_removed
);
fn without_locks_a_leftover_is_claimed_before_it_is_removed(mode: Mode) {
    let (server, gate) = slow_at_first();
    let of_other = r#"{"version":1,"url":"http://h/y","validator":null,"length":null,"done":[]}"#;
    let tdl = fetch_in(mode).file("out/x.part", "of another URL").file("out/x.part.json", of_other);
    let prefix = ["-f", "-o", "/dev/null", "-e", "trace=flock,unlink", "-e", "inject=flock:retval=0"];
    let prefix = [&prefix[..], &["-e", "inject=unlink:delay_enter=1500000"]].concat();
    let first = tdl.respawn_under(&traced(&prefix), &[&server.url("/x"), "--no-split"]);
    let sidecar = tdl.out().join("x.part.json");
    wait_for(|| fs::read_to_string(&sidecar).is_ok_and(|text| text.contains("\"owner\"")));
    assert_eq!(tdl.read("x.part"), b"of another URL", "it is not removed yet");
    let second = tdl.respawn_under(&traced(&NO_LOCKS), &[&server.url("/x"), "--retries", "0"]);
    let second = Output::from(second).assert_code(75);
    assert!(second.stderr.contains("out/x.part is being written by another process"), "{}", second.stderr);
    gate.open();
    Output::from(first).assert_code(0);
    assert!(tdl.read("x") == body() && tdl.names() == ["x"]);
}

in_both_modes!(
    #[ignore = "needs strace"]
    a_sidecar_that_is_temporarily_unreadable_costs_nothing
);
fn a_sidecar_that_is_temporarily_unreadable_costs_nothing(mode: Mode) {
    let server = Server::start(|request| Reply::file(request, &body(), TAG));
    let tdl = fetch_in(mode).file("out/other", "");
    // The first `openat` only checks whether there is a sidecar.
    let fails_once = "inject=openat:error=EMFILE:when=2";
    let prefix = ["-f", "-o", "/dev/null", "-P", "out/x.part.json", "-e", "trace=openat", "-e", fails_once];
    let url = server.url("/x");
    let output = Output::from(tdl.respawn_under(&traced(&prefix), &[&url, "--retries", "0"])).assert_code(75);
    assert!(output.stderr.contains("cannot read out/x.part.json: Too many open files"), "{}", output.stderr);
    assert_eq!(tdl.names(), ["other", "x.part", "x.part.json"]);
    tdl.rerun(&[&url]).assert_code(0);
    assert!(server.requests()[1].header("range").is_some());
    assert!(tdl.read("x") == body() && tdl.names() == ["other", "x"]);
}

in_both_modes!(
    #[ignore = "needs strace"]
    without_locks_three_runs_on_one_list_leave_every_file_whole
);
fn without_locks_three_runs_on_one_list_leave_every_file_whole(mode: Mode) {
    let length = |number| [300_000, 3000][number % 2];
    let server = Server::start(move |request| {
        let number: usize = request.target[1..].parse().unwrap();
        Reply::file(request, &content(number, length(number)), TAG).drip(100_000, Duration::from_millis(5))
    });
    let mut arguments: Vec<_> = (0..20).map(|number| server.url(&format!("/{number}"))).collect();
    arguments.extend(["--retries", "50"].map(str::to_owned));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let tdl = fetch_in(mode);
    let runs: Vec<_> = (0..3).map(|_| tdl.respawn_under(&traced(&NO_LOCKS), &arguments)).collect();
    for run in runs {
        Output::from(run).assert_code(0);
    }
    assert_eq!(tdl.names().len(), 20, "{:?}", tdl.names());
    for number in 0..20 {
        assert!(tdl.read(&number.to_string()) == content(number, length(number)), "{number}");
    }
}

/// A run that leaves 500,000 bytes of `/x` in a part file.
fn interrupted(mode: Mode, server: &Server) -> Tdl {
    let mut tdl = fetch_in(mode).args([&server.url("/x"), "--retries", "0"]);
    tdl.run().assert_code(75);
    assert_eq!(tdl.names(), ["x.part", "x.part.json"]);
    tdl
}

fn cuts_once() -> Server {
    Server::start(|request| match request.number {
        0 => Reply::file(request, &body(), TAG).cut_after(500_000),
        _ => Reply::file(request, &body(), TAG),
    })
}

in_both_modes!(a_part_file_that_others_could_have_written_is_not_resumed);
fn a_part_file_that_others_could_have_written_is_not_resumed(mode: Mode) {
    use std::os::unix::fs::PermissionsExt as _;

    for (name, how) in [("x.part", "mode"), ("x.part.json", "mode"), ("x.part", "link"), ("x.part.json", "link")] {
        let server = cuts_once();
        let mut tdl = interrupted(mode, &server);
        let path = tdl.out().join(name);
        let why = if how == "mode" {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
            "is writable by other users"
        } else {
            fs::hard_link(&path, tdl.dir.path().join("the user's")).unwrap();
            "has another hard link"
        };
        let before = fs::read(&path).unwrap();
        let output = tdl.run().assert_code(0);
        let reason = if name == "x.part" { why.to_owned() } else { format!("has a sidecar that {why}") };
        let message = format!("warning: out/x.part {reason}; moved to out/x.part.kept\n");
        assert!(output.stderr.contains(&message), "{}", output.stderr);
        assert_eq!(server.requests()[1].header("range"), None);
        assert!(tdl.read("x") == body() && tdl.names().contains(&"x.part.kept".to_owned()));
        if how == "link" {
            assert!(fs::read(tdl.dir.path().join("the user's")).unwrap() == before);
        }
    }
}

const USER: u32 = 12_345;

/// Lets everyone write to the output directory.
fn open_to_all(tdl: &Tdl, is_sticky: bool) {
    use std::os::unix::fs::PermissionsExt as _;

    fs::create_dir_all(tdl.out()).unwrap();
    fs::set_permissions(tdl.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(tdl.out(), fs::Permissions::from_mode(if is_sticky { 0o1777 } else { 0o777 })).unwrap();
    // Other users may not be able to run the binary in the build directory.
    // Copied by another process: a file that this one has open for writing may be inherited by a child of another test, and
    // cannot be executed then (ETXTBSY).
    assert!(Command::new("cp").arg(TDL).arg(tdl.dir.path().join("tdl")).status().unwrap().success());
}

/// Starts `tdl` in the same directories as another user.
fn spawn_as(tdl: &Tdl, user: u32, umask: &str, arguments: &[&str]) -> Child {
    let (user, script) = (format!("--reuid={user}"), format!("umask {umask} && exec \"$0\" \"$@\""));
    let copy = tdl.dir.path().join("tdl");
    let program = ["setpriv", &user, "--clear-groups", "sh", "-c", &script, copy.to_str().unwrap()];
    tdl.respawn_under(&program, arguments)
}

in_both_modes!(
    #[ignore = "needs root, to run as several users"]
    as_root_a_file_being_written_by_another_user_is_busy
);
fn as_root_a_file_being_written_by_another_user_is_busy(mode: Mode) {
    for is_sticky in [false, true] {
        for umask in ["022", "077"] {
            let (server, gate) = slow_at_first();
            let tdl = fetch_in(mode);
            open_to_all(&tdl, is_sticky);
            let url = server.url("/x");
            let first = spawn_as(&tdl, USER, umask, &[&url, "--no-split"]);
            let part = tdl.out().join("x.part");
            wait_for(|| bytes_written(&part) >= 200_000);
            let second = Output::from(spawn_as(&tdl, USER + 1, umask, &[&url, "--retries", "0"])).assert_code(75);
            let message = "out/x.part is being written by another process";
            assert!(second.stderr.contains(message), "{}", second.stderr);
            gate.open();
            Output::from(first).assert_code(0);
            assert!(tdl.read("x") == body() && tdl.names() == ["x"]);
            assert_eq!(server.requests().len(), 1);
        }
    }
}

in_both_modes!(
    #[ignore = "needs root, to run as several users"]
    as_root_another_users_bytes_are_never_committed
);
/// In a sticky directory another user's file can be neither used nor moved aside.
fn as_root_another_users_bytes_are_never_committed(mode: Mode) {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    for (is_sticky, code) in [(false, 0), (true, 1)] {
        let server = cuts_once();
        let tdl = interrupted(mode, &server);
        for name in ["x.part", "x.part.json"] {
            fs::set_permissions(tdl.out().join(name), fs::Permissions::from_mode(0o666)).unwrap();
        }
        open_to_all(&tdl, is_sticky);
        chown(tdl.dir.path(), Some(USER), None).unwrap();
        let output =
            Output::from(spawn_as(&tdl, USER, "022", &[&server.url("/x"), "--retries", "0"])).assert_code(code);
        if is_sticky {
            let message = "cannot use out/x.part: it belongs to another user, and it cannot be moved aside";
            assert!(output.stderr.contains(message), "{}", output.stderr);
            assert_eq!(server.requests().len(), 1, "the file is not requested");
        } else {
            assert!(output.stderr.contains("out/x.part belongs to another user; moved to out/x.part.kept"));
            assert_eq!(server.requests()[1].header("range"), None);
            assert!(tdl.read("x") == body());
        }
    }
}
