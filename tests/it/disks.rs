//! File systems without some operation, with failing ones, or without write permission.

use std::fs;
use std::sync::Arc;

use crate::command::{Output, Tdl, content, fetch_in, wait_for};
use crate::mode::{Mode, in_both_modes};
use crate::server::{Gate, Reply, Server};

in_both_modes!(
    #[ignore = "needs strace"]
    files_arrive_without_hard_links_or_no_replace_renames_after_one_warning
);
fn files_arrive_without_hard_links_or_no_replace_renames_after_one_warning(mode: Mode) {
    for (rename, link) in [("EINVAL", "EPERM"), ("ENOSYS", "ENOSYS"), ("EINVAL", "EOPNOTSUPP")] {
        let length = |target: &str| if target.starts_with("/large") { 300_000 } else { 3000 };
        let server = Server::start(move |request| Reply::ok(content(1, length(&request.target))));
        let targets = ["/small1", "/small2", "/large1", "/large2", "/large3"];
        let mut tdl = fetch_in(mode)
            .args(targets.map(|target| server.url(target)))
            .file("out/large3.part.json", "the user's")
            .under("strace")
            .prefix_args(&["-f", "-o", "trace", "-e", "trace=linkat,renameat2"])
            .prefix_args(&["-e", &format!("inject=renameat2:error={rename}")])
            .prefix_args(&["-e", &format!("inject=linkat:error={link}")]);
        let output = tdl.run().assert_code(0);
        assert_eq!(output.stderr.matches("renames that do not replace").count(), 1, "{}", output.stderr);
        assert_eq!(tdl.names(), ["large1", "large2", "large3", "large3.part.json.kept", "small1", "small2"]);
        for target in targets {
            assert!(tdl.read(&target[1..]) == content(1, length(target)), "{target}");
        }
    }
}

in_both_modes!(
    #[ignore = "needs strace"]
    bytes_that_failed_to_sync_are_neither_committed_nor_resumed
);
fn bytes_that_failed_to_sync_are_neither_committed_nor_resumed(mode: Mode) {
    let body = content(1, 1_000_000);
    for fsync in [false, true] {
        let (served, gate) = (body.clone(), Arc::new(Gate::default()));
        let held = Arc::clone(&gate);
        let server = Server::start(move |request| match request.number {
            0 => Reply::file(request, &served, "\"one\"").held_after(500_000, &held),
            _ => Reply::file(request, &served, "\"one\""),
        });
        // Only the first sync fails: no later one reports the lost bytes again.
        let mut tdl = fetch_in(mode)
            .args([&server.url("/x"), "--retries", "0", "--no-split"])
            .under("strace")
            .prefix_args(&["-f", "-o", "trace", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=1"]);
        if fsync {
            tdl = tdl.arg("--fsync");
        }
        let child = tdl.spawn();
        let trace = tdl.dir.path().join("trace");
        wait_for(|| fs::read_to_string(&trace).is_ok_and(|trace| trace.contains("(INJECTED)")));
        gate.open();
        let output = Output::from(child).assert_code(1);
        assert!(output.stderr.contains("cannot sync out/x.part: Input/output error"), "{}", output.stderr);
        assert!(!tdl.names().contains(&"x".to_owned()), "{:?}", tdl.names());
        tdl.rerun(&[&server.url("/x")]).assert_code(0);
        assert_eq!(server.requests()[1].header("range"), None);
        assert!(tdl.read("x") == body && tdl.names() == ["x"]);
    }
}

/// Asserts that an unwritable directory is refused before any request, and only if there is something to fetch.
fn assert_refused(tdl: &Tdl, server: &Server) {
    let urls = [server.url("/a"), server.url("/b")];
    let cases: [(&[&str], i32); 6] = [
        (&[], 2),
        (&["--if-exists", "fail"], 2),
        (&["--if-exists", "update"], 2),
        (&["--if-exists", "rename"], 2),
        (&["--if-exists", "overwrite"], 2),
        (&["--dry-run"], 0),
    ];
    for (arguments, code) in cases {
        let output = tdl.rerun(&[&[urls[0].as_str(), urls[1].as_str()], arguments].concat());
        let output = output.assert_code(code);
        let is_reported = output.stderr.starts_with("error: cannot write to out: ");
        assert_eq!(is_reported, code == 2, "{arguments:?}: {}", output.stderr);
    }
    let output = tdl.rerun(&[&urls[0]]).assert_code(0);
    assert!(output.stdout.contains("it was there before (not checked)"), "{}", output.stdout);
    assert_eq!(server.requests().len(), 0);
    assert_eq!(tdl.names(), ["a"]);
}

in_both_modes!(a_directory_that_cannot_be_written_to_is_refused_before_any_request);
fn a_directory_that_cannot_be_written_to_is_refused_before_any_request(mode: Mode) {
    use std::os::unix::fs::PermissionsExt as _;

    let server = Server::echo();
    let tdl = fetch_in(mode).file("out/a", "there");
    let allow = |mode| fs::set_permissions(tdl.out(), fs::Permissions::from_mode(mode)).unwrap();
    allow(0o555);
    if fs::write(tdl.out().join("probe"), "").is_ok() {
        eprintln!("skipped: this user may write everywhere; see the test with a mount");
        return;
    }
    let out = tdl.out();
    let _allow = OnDrop(|| fs::set_permissions(&out, fs::Permissions::from_mode(0o755)).unwrap());
    assert_refused(&tdl, &server);
}

in_both_modes!(
    #[ignore = "needs root, to mount"]
    a_read_only_mount_is_refused_before_any_request
);
fn a_read_only_mount_is_refused_before_any_request(mode: Mode) {
    let server = Server::echo();
    let tdl = fetch_in(mode).file("out/a", "there");
    let out = tdl.out();
    let run = |program: &str, arguments: &[&str]| {
        let done = std::process::Command::new(program).args(arguments).arg(&out).status().unwrap();
        assert!(done.success(), "{program} {arguments:?}");
    };
    run("mount", &["--bind", out.to_str().unwrap()]);
    let _unmount = OnDrop(|| run("umount", &[]));
    run("mount", &["-o", "remount,ro,bind"]);
    assert_refused(&tdl, &server);
}

in_both_modes!(
    #[ignore = "needs root, to mount"]
    a_file_system_that_reports_no_blocks_has_room
);
fn a_file_system_that_reports_no_blocks_has_room(mode: Mode) {
    let server = Server::start(|_| Reply::ok(content(1, 300_000)));
    let mut tdl = fetch_in(mode).arg(server.url("/a")).file("out/hidden", "");
    let out = tdl.out();
    let run = |program: &str, arguments: &[&str]| {
        let done = std::process::Command::new(program).args(arguments).arg(&out).status().unwrap();
        assert!(done.success(), "{program} {arguments:?}");
    };
    run("mount", &["-t", "ramfs", "none"]);
    let _unmount = OnDrop(|| run("umount", &[]));
    tdl.run().assert_code(0);
    assert!(tdl.read("a") == content(1, 300_000));
}

/// Calls a function when it is dropped, at the end of a failed test as well.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
