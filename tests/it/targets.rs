//! What is at a target already, or appears there meanwhile.

use std::fs;
use std::sync::Arc;

use crate::command::{Ended, Tdl, arrived, content, fetch_as, wait_for};
use crate::server::{Gate, Reply, Server};

fn fetch() -> Tdl {
    fetch_as(module_path!())
}

#[test]
fn what_is_there_is_treated_as_asked() {
    let server = Server::echo();
    for (arguments, code, names, a, requests) in [
        (&[][..], 0, &["a", "b"][..], "the user's", 1),
        (&["--if-exists", "skip"], 0, &["a", "b"], "the user's", 1),
        (&["--if-exists", "overwrite"], 0, &["a", "b"], "/a", 2),
        (&["--if-exists", "rename"], 0, &["a", "a-2", "b"], "the user's", 2),
        (&["--if-exists", "fail"], 1, &["a", "b"], "the user's", 1),
    ] {
        for mode in ["--jobs=2", "--sequential"] {
            let before = server.requests().len();
            let mut tdl = fetch()
                .args([server.url("/a"), server.url("/b")])
                .args(arguments)
                .arg(mode)
                .file("out/a", "the user's");
            tdl.run().with(code);
            assert_eq!(tdl.names(), names, "{arguments:?}");
            assert_eq!(String::from_utf8(tdl.got("a")).unwrap(), a, "{arguments:?}");
            assert_eq!(server.requests().len() - before, requests, "{arguments:?}");
        }
    }
}

#[test]
fn skipped_files_are_said_not_to_be_checked() {
    let server = Server::echo();
    let ended = fetch().arg(server.url("/a")).file("out/a", "x").run().with(0);
    assert_eq!(ended.stderr, format!("{}: skipped, a exists, not checked\n", server.url("/a")));
    assert!(ended.stdout.contains("  skipped          1   already exists, not checked\n"), "{}", ended.stdout);
}

#[test]
fn a_file_that_appears_meanwhile_is_never_replaced_unasked() {
    for (policy, code, names, a) in [
        ("skip", 0, &["a"][..], "the user's"),
        ("update", 0, &["a"], "the user's"),
        ("fail", 1, &["a"], "the user's"),
        ("rename", 0, &["a", "a-2"], "the user's"),
        ("overwrite", 0, &["a"], "/a"),
    ] {
        let gate = Arc::new(Gate::default());
        let held = Arc::clone(&gate);
        let server = Server::start(move |request| Reply::ok(request.target.clone()).held_until(&held));
        let mut tdl = fetch().args([&server.url("/a"), "--if-exists", policy]);
        let child = tdl.spawn();
        server.wait_for_requests(1);
        fs::write(tdl.out().join("a"), "the user's").unwrap();
        gate.open();
        let ended = Ended::from(child).with(code);
        assert_eq!(tdl.names(), names, "{policy}: {ended:?}");
        assert_eq!(String::from_utf8(tdl.got("a")).unwrap(), a, "{policy}");
        if policy == "rename" {
            assert_eq!(tdl.got("a-2"), b"/a");
            assert!(ended.stderr.contains(", to out/a-2\n"), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_directory_in_the_targets_place_fails_that_download() {
    let server = Server::echo();
    for policy in ["skip", "overwrite", "fail"] {
        let mut tdl =
            fetch().args([&server.url("/a"), &server.url("/b"), "--if-exists", policy]).file("out/a/inside", "x");
        let ended = tdl.run().with(1);
        assert!(ended.stderr.contains("/a: failed: out/a is not a regular file\n"), "{}", ended.stderr);
        assert_eq!(tdl.names(), ["a", "b"]);
    }
}

#[test]
fn a_directory_that_appears_meanwhile_fails_that_download() {
    for length in [10, 200_000] {
        let gate = Arc::new(Gate::default());
        let held = Arc::clone(&gate);
        let server = Server::start(move |_| Reply::ok(content(1, length)).held_until(&held));
        let mut tdl = fetch().arg(server.url("/a"));
        let child = tdl.spawn();
        server.wait_for_requests(1);
        fs::create_dir(tdl.out().join("a")).unwrap();
        gate.open();
        let ended = Ended::from(child).with(1);
        assert!(ended.stderr.contains("/a: failed: out/a is not a regular file\n"), "{}", ended.stderr);
        assert!(tdl.out().join("a").is_dir());
    }
}

#[test]
fn an_output_directory_that_cannot_be_is_refused() {
    let server = Server::echo();
    let ended = fetch().arg(server.url("/a")).file("out", "a file").run().with(2);
    assert!(ended.stderr.starts_with("cannot make the directory out: "), "{}", ended.stderr);
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn two_runs_do_not_write_to_one_part_file() {
    let server = Server::echo();
    // A part file that another process holds: this one.
    let mut tdl = fetch().args([&server.url("/a"), "--retries", "0"]).file("out/a.part", "held");
    let part = fs::File::open(tdl.out().join("a.part")).unwrap();
    part.try_lock().unwrap();
    let ended = tdl.run().with(75);
    assert!(ended.stderr.contains("out/a.part is being written by another process"), "{}", ended.stderr);
    assert_eq!(server.requests().len(), 0);
    part.unlock().unwrap();
    assert_eq!(fs::read(tdl.out().join("a.part")).unwrap(), b"held");
}

#[test]
fn a_part_file_that_is_not_tdls_is_kept() {
    let server = Server::echo();
    let mut tdl = fetch().arg(server.url("/a")).file("out/a.part", "the user's");
    let ended = tdl.run().with(0);
    assert_eq!(tdl.names(), ["a", "a.part.kept"]);
    assert_eq!((tdl.got("a"), tdl.got("a.part.kept")), (b"/a".to_vec(), b"the user's".to_vec()));
    let message = "/a: starting over: out/a.part is not tdl's; it is out/a.part.kept now\n";
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
}

#[test]
fn what_is_moved_aside_for_a_sidecar_is_said() {
    let server = Server::start(|request| {
        Reply::file(request, &content(1, 400_000), "\"one\"").drip(20_000, std::time::Duration::from_millis(100))
    });
    let mut tdl = fetch().arg(server.url("/a")).file("out/a.part.json", "the user's").file("out/a.part.tmp", "too");
    let ended = tdl.run().with(0);
    assert_eq!(tdl.names(), ["a", "a.part.json.kept", "a.part.tmp.kept"]);
    for name in ["a.part.json", "a.part.tmp"] {
        let message = format!("out/{name} is not tdl's; it is out/{name}.kept now\n");
        assert_eq!(ended.stderr.matches(&message).count(), 1, "{}", ended.stderr);
    }
}

#[test]
fn one_file_is_kept_and_no_more() {
    let server = Server::echo();
    let mut tdl = fetch().arg(server.url("/a")).file("out/a.part", "second").file("out/a.part.kept", "first");
    let ended = tdl.run().with(1);
    let message =
        "out/a.part is in the way: it is not tdl's, and out/a.part.kept is there already: remove or rename one";
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
    assert_eq!((tdl.got("a.part"), tdl.got("a.part.kept")), (b"second".to_vec(), b"first".to_vec()));
}

#[cfg(unix)]
#[test]
fn symbolic_links_are_not_followed() {
    let server = Server::echo();
    for (link, policy, code) in
        [("a", "overwrite", 0), ("a", "skip", 0), ("a.part", "skip", 1), ("a.part", "overwrite", 1)]
    {
        let mut tdl =
            fetch().args([&server.url("/a"), "--if-exists", policy]).file("elsewhere", "the user's").file("out/b", "");
        std::os::unix::fs::symlink("../elsewhere", tdl.out().join(link)).unwrap();
        tdl.run().with(code);
        assert_eq!(fs::read(tdl.dir.path().join("elsewhere")).unwrap(), b"the user's", "{link} {policy}");
    }
}

#[test]
fn a_part_file_that_is_replaced_meanwhile_is_not_taken_for_the_download() {
    let body = content(1, 300_000);
    let served = body.clone();
    let server = Server::start(move |request| {
        Reply::file(request, &served, "\"one\"").drip(20_000, std::time::Duration::from_millis(20))
    });
    let mut tdl = fetch().arg(server.url("/a"));
    let child = tdl.spawn();
    let part = tdl.out().join("a.part");
    wait_for(|| arrived(&part) > 50_000);
    fs::remove_file(&part).unwrap();
    fs::write(&part, "the user's").unwrap();
    let ended = Ended::from(child).with(0);
    assert!(ended.stderr.contains("out/a.part was taken away or replaced meanwhile"), "{}", ended.stderr);
    assert!(tdl.got("a") == body);
    let kept: Vec<_> = tdl.names().into_iter().filter(|name| name != "a").collect();
    // By then a sidecar lay beside it, so it was tdl's to start over, or it was moved aside.
    assert!(kept.is_empty() || kept == ["a.part.kept"], "{kept:?}");
}

#[test]
fn a_directory_that_cannot_be_looked_into_does_not_hold_up_the_search_for_a_name() {
    for arguments in [&["--dry-run"][..], &[]] {
        let mut tdl = Tdl::new(&["fetch", "-o", "file/sub", "http://h/a", "--if-exists", "rename"]);
        tdl = tdl.args(arguments).file("file", "no directory");
        let ended = tdl.run();
        let (code, stdout) = if arguments.is_empty() { (2, "") } else { (0, "http://h/a -> file/sub/a\n") };
        assert_eq!((ended.code, ended.stdout.replace('\\', "/").as_str()), (Some(code), stdout), "{ended:?}");
    }
}

#[test]
fn two_runs_begun_together_fetch_a_large_file_once() {
    let body = content(1, 2_000_000);
    let (gates, served) = ([Arc::new(Gate::default()), Arc::new(Gate::default())], body.clone());
    let held = gates.clone();
    let server =
        Server::start(move |request| Reply::file(request, &served, "\"one\"").held_until(&held[request.number.min(1)]));
    // Both begin in an empty directory, and have asked before either has the file.
    let mut tdl = fetch().args([&server.url("/a"), "--json"]);
    let first = tdl.spawn();
    server.wait_for_requests(1);
    let second = tdl.spawn_again(&[server.url("/a")], &["--json"]);
    server.wait_for_requests(2);
    gates[0].open();
    Ended::from(first).with(0);
    gates[1].open();
    let second = Ended::from(second).with(0);
    assert!(second.stdout.contains("\"event\":\"skipped\"") && second.stdout.contains("\"received\":0"), "{second:?}");
    assert_eq!((tdl.names(), tdl.got("a") == body), (vec!["a".to_owned()], true));
}

#[test]
fn three_runs_on_one_list_end_with_every_file_whole_and_nothing_else() {
    let length = |number| [300_000, 3000][number % 2];
    let server = Server::start(move |request| {
        let number: usize = request.target[1..].parse().unwrap();
        Reply::file(request, &content(number, length(number)), "\"one\"")
            .drip(100_000, std::time::Duration::from_millis(5))
    });
    let urls: Vec<_> = (0..30).map(|number| server.url(&format!("/{number}"))).collect();
    let mut first = fetch().args(&urls).args(["--retries", "50"]);
    let child = first.spawn();
    let others: Vec<_> = (0..2).map(|_| first.spawn_again(&urls, &["--retries", "50"])).collect();
    for child in others.into_iter().chain([child]) {
        Ended::from(child).with(0);
    }
    assert_eq!(first.names().len(), 30, "{:?}", first.names());
    for number in 0..30 {
        assert!(first.got(&number.to_string()) == content(number, length(number)), "{number}");
    }
}
