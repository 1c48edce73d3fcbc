//! Files and directories at a target or a part file, before the run or appearing during it.

use std::fs;
use std::sync::Arc;

use crate::command::{Output, bytes_written, content, fetch_in, wait_for};
use crate::mode::{Mode, in_both_modes};
use crate::server::{Gate, Reply, Server};

in_both_modes!(an_existing_target_is_treated_as_requested);
fn an_existing_target_is_treated_as_requested(mode: Mode) {
    let server = Server::echo();
    for (arguments, code, names, a, requests) in [
        (&[][..], 0, &["a", "b"][..], "the user's", 1),
        (&["--if-exists", "skip"], 0, &["a", "b"], "the user's", 1),
        (&["--if-exists", "overwrite"], 0, &["a", "b"], "/a", 2),
        (&["--if-exists", "rename"], 0, &["a", "a-2", "b"], "the user's", 2),
        (&["--if-exists", "fail"], 1, &["a", "b"], "the user's", 1),
    ] {
        let before = server.requests().len();
        let mut tdl =
            fetch_in(mode).args([server.url("/a"), server.url("/b")]).args(arguments).file("out/a", "the user's");
        tdl.run().assert_code(code);
        assert_eq!(tdl.names(), names, "{arguments:?}");
        assert_eq!(String::from_utf8(tdl.read("a")).unwrap(), a, "{arguments:?}");
        assert_eq!(server.requests().len() - before, requests, "{arguments:?}");
    }
}

in_both_modes!(skipped_files_are_reported_as_not_checked);
fn skipped_files_are_reported_as_not_checked(mode: Mode) {
    let server = Server::echo();
    let output = fetch_in(mode).arg(server.url("/a")).file("out/a", "x").run().assert_code(0);
    assert_eq!(output.stderr, format!("{}: skipped, a exists, not checked\n", server.url("/a")));
    assert!(output.stdout.contains("1 of 1 file is there: it was there before (not checked)\n"), "{}", output.stdout);
}

in_both_modes!(a_file_that_appears_during_a_download_is_replaced_only_on_request);
fn a_file_that_appears_during_a_download_is_replaced_only_on_request(mode: Mode) {
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
        let mut tdl = fetch_in(mode).args([&server.url("/a"), "--if-exists", policy]);
        let child = tdl.spawn();
        server.wait_for_requests(1);
        fs::write(tdl.out().join("a"), "the user's").unwrap();
        gate.open();
        let output = Output::from(child).assert_code(code);
        assert_eq!(tdl.names(), names, "{policy}: {output:?}");
        assert_eq!(String::from_utf8(tdl.read("a")).unwrap(), a, "{policy}");
        if policy == "rename" {
            assert_eq!(tdl.read("a-2"), b"/a");
            assert!(output.stderr.contains(", to out/a-2\n"), "{}", output.stderr);
        }
    }
}

in_both_modes!(a_directory_at_the_target_fails_that_download);
fn a_directory_at_the_target_fails_that_download(mode: Mode) {
    let server = Server::echo();
    for policy in ["skip", "overwrite", "fail"] {
        let mut tdl = fetch_in(mode)
            .args([&server.url("/a"), &server.url("/b"), "--if-exists", policy])
            .file("out/a/inside", "x");
        let output = tdl.run().assert_code(1);
        assert!(output.stderr.contains("/a: failed: out/a is not a regular file\n"), "{}", output.stderr);
        assert_eq!(tdl.names(), ["a", "b"]);
    }
}

in_both_modes!(a_directory_that_appears_during_a_download_fails_it);
fn a_directory_that_appears_during_a_download_fails_it(mode: Mode) {
    for length in [10, 200_000] {
        let gate = Arc::new(Gate::default());
        let held = Arc::clone(&gate);
        let server = Server::start(move |_| Reply::ok(content(1, length)).held_until(&held));
        let mut tdl = fetch_in(mode).arg(server.url("/a"));
        let child = tdl.spawn();
        server.wait_for_requests(1);
        fs::create_dir(tdl.out().join("a")).unwrap();
        gate.open();
        let output = Output::from(child).assert_code(1);
        assert!(output.stderr.contains("/a: failed: out/a is not a regular file\n"), "{}", output.stderr);
        assert!(tdl.out().join("a").is_dir());
    }
}

in_both_modes!(an_output_directory_that_cannot_be_created_is_refused);
fn an_output_directory_that_cannot_be_created_is_refused(mode: Mode) {
    let server = Server::echo();
    let output = fetch_in(mode).arg(server.url("/a")).file("out", "a file").run().assert_code(2);
    assert!(
        output.stderr.starts_with("error: cannot create the directory out: a file has that name\n"),
        "{}",
        output.stderr
    );
    assert_eq!(server.requests().len(), 0);
}

in_both_modes!(two_runs_never_share_a_part_file);
fn two_runs_never_share_a_part_file(mode: Mode) {
    let server = Server::echo();
    // Held by another process: the one that runs this test.
    let mut tdl = fetch_in(mode).args([&server.url("/a"), "--retries", "0"]).file("out/a.part", "held");
    let part = fs::File::open(tdl.out().join("a.part")).unwrap();
    part.try_lock().unwrap();
    let output = tdl.run().assert_code(75);
    assert!(output.stderr.contains("out/a.part is being written by another process"), "{}", output.stderr);
    assert_eq!(server.requests().len(), 0);
    part.unlock().unwrap();
    assert_eq!(fs::read(tdl.out().join("a.part")).unwrap(), b"held");
}

in_both_modes!(a_foreign_part_file_is_kept);
fn a_foreign_part_file_is_kept(mode: Mode) {
    let server = Server::echo();
    let mut tdl = fetch_in(mode).arg(server.url("/a")).file("out/a.part", "the user's");
    let output = tdl.run().assert_code(0);
    assert_eq!(tdl.names(), ["a", "a.part.kept"]);
    assert_eq!((tdl.read("a"), tdl.read("a.part.kept")), (b"/a".to_vec(), b"the user's".to_vec()));
    let message = "warning: out/a.part is not tdl's; moved to out/a.part.kept\n";
    assert!(output.stderr.contains(message), "{}", output.stderr);
}

in_both_modes!(moving_files_aside_for_a_sidecar_is_reported);
fn moving_files_aside_for_a_sidecar_is_reported(mode: Mode) {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let server =
        Server::start(move |request| Reply::file(request, &content(1, 400_000), "\"one\"").held_after(200_000, &held));
    // A second connection would fetch what the first one holds back.
    let tdl = fetch_in(mode).args([&server.url("/a"), "--no-split"]);
    let mut tdl = tdl.file("out/a.part.json", "the user's").file("out/a.part.tmp", "too");
    let child = tdl.spawn();
    let kept = ["a.part.json.kept", "a.part.tmp.kept"];
    wait_for(|| kept.iter().all(|name| tdl.names().contains(&(*name).to_owned())));
    gate.open();
    let output = Output::from(child).assert_code(0);
    assert_eq!(tdl.names(), ["a", kept[0], kept[1]]);
    for name in ["a.part.json", "a.part.tmp"] {
        let message = format!("out/{name} is not tdl's; moved to out/{name}.kept\n");
        assert_eq!(output.stderr.matches(&message).count(), 1, "{}", output.stderr);
    }
}

in_both_modes!(only_one_foreign_part_file_is_kept);
fn only_one_foreign_part_file_is_kept(mode: Mode) {
    let server = Server::echo();
    let mut tdl = fetch_in(mode).arg(server.url("/a")).file("out/a.part", "second").file("out/a.part.kept", "first");
    let output = tdl.run().assert_code(1);
    let message = "cannot use out/a.part: it is not tdl's, and out/a.part.kept already exists; remove or rename one";
    assert!(output.stderr.contains(message), "{}", output.stderr);
    assert_eq!((tdl.read("a.part"), tdl.read("a.part.kept")), (b"second".to_vec(), b"first".to_vec()));
}

#[cfg(unix)]
in_both_modes!(symbolic_links_are_not_followed);
#[cfg(unix)]
fn symbolic_links_are_not_followed(mode: Mode) {
    let server = Server::echo();
    for (link, policy, code) in
        [("a", "overwrite", 0), ("a", "skip", 0), ("a.part", "skip", 1), ("a.part", "overwrite", 1)]
    {
        let mut tdl = fetch_in(mode)
            .args([&server.url("/a"), "--if-exists", policy])
            .file("elsewhere", "the user's")
            .file("out/b", "");
        std::os::unix::fs::symlink("../elsewhere", tdl.out().join(link)).unwrap();
        tdl.run().assert_code(code);
        assert_eq!(fs::read(tdl.dir.path().join("elsewhere")).unwrap(), b"the user's", "{link} {policy}");
    }
}

in_both_modes!(a_part_file_replaced_during_a_download_is_not_committed);
fn a_part_file_replaced_during_a_download_is_not_committed(mode: Mode) {
    let body = content(1, 300_000);
    let served = body.clone();
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let server = Server::start(move |request| Reply::file(request, &served, "\"one\"").held_after(150_000, &held));
    let mut tdl = fetch_in(mode).args([&server.url("/a"), "--no-split"]);
    let child = tdl.spawn();
    let part = tdl.out().join("a.part");
    wait_for(|| bytes_written(&part) > 50_000);
    fs::remove_file(&part).unwrap();
    fs::write(&part, "the user's").unwrap();
    gate.open();
    let output = Output::from(child).assert_code(0);
    assert!(output.stderr.contains("out/a.part was removed or replaced by another process"), "{}", output.stderr);
    assert!(tdl.read("a") == body);
    let kept: Vec<_> = tdl.names().into_iter().filter(|name| name != "a").collect();
    // With a sidecar beside it the file looks like a leftover of tdl and is overwritten; otherwise it is moved aside.
    assert!(kept.is_empty() || kept == ["a.part.kept"], "{kept:?}");
}

in_both_modes!(a_directory_that_cannot_be_read_does_not_hang_the_search_for_a_name);
fn a_directory_that_cannot_be_read_does_not_hang_the_search_for_a_name(mode: Mode) {
    for arguments in [&["--dry-run"][..], &[]] {
        let mut tdl = fetch_in(mode).args(["-o", "file/sub", "http://h/a", "--if-exists", "rename"]);
        tdl = tdl.args(arguments).file("file", "not a directory");
        let output = tdl.run();
        let (code, stdout) = if arguments.is_empty() { (2, "") } else { (0, "http://h/a -> file/sub/a\n") };
        assert_eq!((output.code, output.stdout.replace('\\', "/").as_str()), (Some(code), stdout), "{output:?}");
    }
}

in_both_modes!(two_simultaneous_runs_fetch_a_large_file_once);
fn two_simultaneous_runs_fetch_a_large_file_once(mode: Mode) {
    let body = content(1, 2_000_000);
    let (gates, served) = ([Arc::new(Gate::default()), Arc::new(Gate::default())], body.clone());
    let held = gates.clone();
    let server =
        Server::start(move |request| Reply::file(request, &served, "\"one\"").held_until(&held[request.number.min(1)]));
    // Both start in an empty directory, and both have requested the file before either has it.
    let mut tdl = fetch_in(mode).args([&server.url("/a"), "--json"]);
    let first = tdl.spawn();
    server.wait_for_requests(1);
    let second = tdl.respawn(&[server.url("/a")], &["--json"]);
    server.wait_for_requests(2);
    gates[0].open();
    Output::from(first).assert_code(0);
    gates[1].open();
    let second = Output::from(second).assert_code(0);
    assert!(second.stdout.contains("\"event\":\"skipped\"") && second.stdout.contains("\"received\":0"), "{second:?}");
    assert_eq!((tdl.names(), tdl.read("a") == body), (vec!["a".to_owned()], true));
}

in_both_modes!(three_runs_on_one_list_leave_every_file_whole);
fn three_runs_on_one_list_leave_every_file_whole(mode: Mode) {
    let length = |number| [300_000, 3000][number % 2];
    let server = Server::start(move |request| {
        let number: usize = request.target[1..].parse().unwrap();
        Reply::file(request, &content(number, length(number)), "\"one\"")
            .drip(100_000, std::time::Duration::from_millis(5))
    });
    let urls: Vec<_> = (0..30).map(|number| server.url(&format!("/{number}"))).collect();
    let mut first = fetch_in(mode).args(&urls).args(["--retries", "50"]);
    let child = first.spawn();
    let others: Vec<_> = (0..2).map(|_| first.respawn(&urls, &["--retries", "50"])).collect();
    for child in others.into_iter().chain([child]) {
        Output::from(child).assert_code(0);
    }
    assert_eq!(first.names().len(), 30, "{:?}", first.names());
    for number in 0..30 {
        assert!(first.read(&number.to_string()) == content(number, length(number)), "{number}");
    }
}
