//! File systems that lack something, or that cannot be written to.

use std::fs;

use crate::command::{Tdl, content, fetch_as};
use crate::server::{Reply, Server};

fn fetch() -> Tdl {
    fetch_as(module_path!())
}

#[test]
#[ignore = "needs strace"]
fn without_hard_links_and_exclusive_renames_everything_arrives_with_one_warning() {
    for (rename, link) in [("EINVAL", "EPERM"), ("ENOSYS", "ENOSYS"), ("EINVAL", "EOPNOTSUPP")] {
        let length = |target: &str| if target.starts_with("/large") { 300_000 } else { 3000 };
        let server = Server::start(move |request| Reply::ok(content(1, length(&request.target))));
        let targets = ["/small1", "/small2", "/large1", "/large2", "/large3"];
        let mut tdl = fetch()
            .args(targets.map(|target| server.url(target)))
            .file("out/large3.part.json", "the user's")
            .under("strace")
            .prefix_args(&["-f", "-o", "trace", "-e", "trace=linkat,renameat2"])
            .prefix_args(&["-e", &format!("inject=renameat2:error={rename}")])
            .prefix_args(&["-e", &format!("inject=linkat:error={link}")]);
        let ended = tdl.run().with(0);
        assert_eq!(ended.stderr.matches("without replacing another").count(), 1, "{}", ended.stderr);
        assert_eq!(tdl.names(), ["large1", "large2", "large3", "large3.part.json.kept", "small1", "small2"]);
        for target in targets {
            assert!(tdl.got(&target[1..]) == content(1, length(target)), "{target}");
        }
    }
}

#[test]
#[ignore = "needs strace"]
fn bytes_that_did_not_get_onto_the_disk_get_no_final_name_and_are_not_resumed() {
    let body = content(1, 1_000_000);
    for fsync in [false, true] {
        let served = body.clone();
        let server = Server::start(move |request| {
            let pause = std::time::Duration::from_millis(if request.number == 0 { 30 } else { 0 });
            Reply::file(request, &served, "\"one\"").drip(20_000, pause)
        });
        // A checkpoint fails, and no later one says so.
        let mut tdl = fetch().args([&server.url("/x"), "--retries", "0"]).under("strace").prefix_args(&[
            "-f",
            "-o",
            "trace",
            "-e",
            "trace=fdatasync",
            "-e",
            "inject=fdatasync:error=EIO:when=1",
        ]);
        if fsync {
            tdl = tdl.arg("--fsync");
        }
        let ended = tdl.run().with(1);
        assert!(ended.stderr.contains("cannot write out/x.part: Input/output error"), "{}", ended.stderr);
        assert!(!tdl.names().contains(&"x".to_owned()), "{:?}", tdl.names());
        tdl.again(&[&server.url("/x")]).with(0);
        assert_eq!(server.requests()[1].header("range"), None);
        assert!(tdl.got("x") == body && tdl.names() == ["x"]);
    }
}

/// A directory that cannot be written to costs no request, unless nothing is to be fetched.
fn is_refused(tdl: &Tdl, server: &Server) {
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
        let ended = tdl.again(&[&[urls[0].as_str(), urls[1].as_str()], arguments].concat());
        let ended = ended.with(code);
        let is_told = ended.stderr.starts_with("cannot write to out: ");
        assert_eq!(is_told, code == 2, "{arguments:?}: {}", ended.stderr);
    }
    let ended = tdl.again(&[&urls[0]]).with(0);
    assert!(ended.stdout.contains("already exists, not checked"), "{}", ended.stdout);
    assert_eq!(server.requests().len(), 0);
    assert_eq!(tdl.names(), ["a"]);
}

#[test]
fn a_directory_that_cannot_be_written_to_is_refused_before_any_request() {
    use std::os::unix::fs::PermissionsExt as _;

    let server = Server::echo();
    let tdl = fetch().file("out/a", "there");
    let allow = |mode| fs::set_permissions(tdl.out(), fs::Permissions::from_mode(mode)).unwrap();
    allow(0o555);
    if fs::write(tdl.out().join("probe"), "").is_ok() {
        eprintln!("skipped: this user may write everywhere; see the test with a mount");
        return;
    }
    let out = tdl.out();
    let _allow = Finally(|| fs::set_permissions(&out, fs::Permissions::from_mode(0o755)).unwrap());
    is_refused(&tdl, &server);
}

#[test]
#[ignore = "needs root, to mount"]
fn so_is_a_read_only_mount() {
    let server = Server::echo();
    let tdl = fetch().file("out/a", "there");
    let out = tdl.out();
    let run = |program: &str, arguments: &[&str]| {
        let done = std::process::Command::new(program).args(arguments).arg(&out).status().unwrap();
        assert!(done.success(), "{program} {arguments:?}");
    };
    run("mount", &["--bind", out.to_str().unwrap()]);
    let _unmount = Finally(|| run("umount", &[]));
    run("mount", &["-o", "remount,ro,bind"]);
    is_refused(&tdl, &server);
}

#[test]
#[ignore = "needs root, to mount"]
fn a_file_system_that_does_not_count_its_blocks_has_room() {
    let server = Server::start(|_| Reply::ok(content(1, 300_000)));
    let mut tdl = fetch().arg(server.url("/a")).file("out/hidden", "");
    let out = tdl.out();
    let run = |program: &str, arguments: &[&str]| {
        let done = std::process::Command::new(program).args(arguments).arg(&out).status().unwrap();
        assert!(done.success(), "{program} {arguments:?}");
    };
    run("mount", &["-t", "ramfs", "none"]);
    let _unmount = Finally(|| run("umount", &[]));
    tdl.run().with(0);
    assert!(tdl.got("a") == content(1, 300_000));
}

/// Does something at the end, also of a test that fails.
struct Finally<F: Fn()>(F);

impl<F: Fn()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
