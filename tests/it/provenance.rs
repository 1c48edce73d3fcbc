//! Whose file is it? A file that tdl committed is marked with its source, and another URL's file is not "there already".

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use tdl::options::{IfExists, Mode as RunMode};
use tdl::{CancelToken, Entry, Event, Options, Outcome, Plan, SkipReason, WebUrl, run};

use crate::command::{Output, Tdl, content, fetch, fetch_in};
use crate::mode::{Mode, in_both_modes};
use crate::server::{Gate, Reply, Server};

const MARK: &str = "user.tdl.source";

/// Longer than what is received without a part file.
const LARGE: usize = 200_000;

fn mark(path: &Path) -> Option<Vec<u8>> {
    let mut value = [0; 4096];
    lgetxattr(path, MARK, &mut value).ok().map(|length| value[..length].to_vec())
}

/// Whether the file system of scratch directories keeps attributes. Otherwise says that the test is skipped.
fn keeps_attributes() -> bool {
    let file = tempfile::NamedTempFile::new().unwrap();
    let is_kept = lsetxattr(file.path(), MARK, b"x", XattrFlags::empty()).is_ok();
    if !is_kept {
        eprintln!("skipped: {} has no extended attributes", file.path().display());
    }
    is_kept
}

/// A server of small files below `/small/` and large ones elsewhere: other ones for each path.
fn server() -> Server {
    Server::start(|request| {
        let path = request.target.split('?').next().unwrap();
        let body = if path.starts_with("/small/") { path.into() } else { large(path) };
        Reply::file(request, &body, "\"one\"")
    })
}

fn large(path: &str) -> Vec<u8> {
    content(path.len() + usize::from(path.as_bytes()[1]), LARGE)
}

/// A directory into which these were fetched, one after the other.
fn fetched(mode: Mode, urls: &[&str]) -> Tdl {
    let mut tdl = fetch_in(mode).args(urls);
    tdl.run().assert_code(0);
    tdl
}

/// Asserts that a rerun skipped the only file, and why.
#[track_caller]
fn assert_skipped(output: Output, why: &str) {
    let output = output.assert_code(0);
    assert!(output.stderr.contains(&format!(" exists, {why}\n")), "{output:?}");
}

in_both_modes!(a_file_of_another_url_is_not_there_already);
fn a_file_of_another_url_is_not_there_already(mode: Mode) {
    if !keeps_attributes() {
        return;
    }
    let server = server();
    for (first, second) in [("/small/a/data.csv", "/small/b/data.csv"), ("/a/data.csv", "/b/data.csv")] {
        let tdl = fetched(mode, &[&server.url(first)]);
        let before = (tdl.read("data.csv"), mark(&tdl.out().join("data.csv")));
        let requests = server.requests().len();
        let output = tdl.rerun(&[&server.url(second)]).assert_code(1);
        let message = format!(
            "{}: failed: out/data.csv is there, but from another URL; --if-exists rename saves this one under another name\n",
            server.url(second)
        );
        assert_eq!(output.stderr, message);
        assert!(output.stdout.starts_with("0 of 1 file is there\n1 failed:\n"), "{}", output.stdout);
        assert_eq!((tdl.read("data.csv"), mark(&tdl.out().join("data.csv"))), before);
        assert_eq!((tdl.names(), server.requests().len()), (vec!["data.csv".to_owned()], requests));
        // The remedy works.
        tdl.rerun(&[&server.url(second), "--if-exists", "rename"]).assert_code(0);
        assert_eq!(tdl.names(), ["data-2.csv", "data.csv"]);
        assert_ne!(mark(&tdl.out().join("data-2.csv")), before.1);
        assert_eq!(tdl.read("data.csv"), before.0);
    }
}

in_both_modes!(a_file_of_the_same_url_is_there_already_and_said_to_be);
fn a_file_of_the_same_url_is_there_already_and_said_to_be(mode: Mode) {
    if !keeps_attributes() {
        return;
    }
    let server = server();
    for path in ["/small/x", "/x"] {
        let url = server.url(path);
        let tdl = fetched(mode, &[&url]);
        let requests = server.requests().len();
        let output = tdl.rerun(&[&url]).assert_code(0);
        assert_eq!(output.stderr, format!("{url}: skipped, x exists, fetched from this URL\n"));
        let summary = "1 of 1 file is there: it was there before (fetched from its URL)\n";
        assert_eq!(output.stdout, summary);
        let output = tdl.rerun(&[&url, "--json"]).assert_code(0);
        assert!(output.stdout.contains("\"checked\":false,\"reason\":\"same-url\""), "{}", output.stdout);
        assert!(output.stdout.contains("\"event\":\"summary\",\"fetched\":0,\"skipped\":1,"), "{}", output.stdout);
        assert_eq!(server.requests().len(), requests);
    }
}

in_both_modes!(a_renewed_signature_and_other_credentials_are_the_same_source);
fn a_renewed_signature_and_other_credentials_are_the_same_source(mode: Mode) {
    if !keeps_attributes() {
        return;
    }
    let server = server();
    let signed = |date| server.url(&format!("/x?id=1&X-Amz-Date={date}&X-Amz-Signature=s{date}"));
    let tdl = fetched(mode, &[&signed(1)]);
    assert_skipped(tdl.rerun(&[&signed(2)]), "fetched from this URL");
    let with_user = server.url("/x?id=1#part").replace("://", "://user:word@");
    assert_skipped(tdl.rerun(&[&with_user]), "fetched from this URL");
    let output = tdl.rerun(&[&server.url("/x?id=2")]).assert_code(1);
    assert!(output.stderr.contains("from another URL"), "{}", output.stderr);
}

in_both_modes!(the_mark_is_of_the_listed_url_and_names_none);
fn the_mark_is_of_the_listed_url_and_names_none(mode: Mode) {
    if !keeps_attributes() {
        return;
    }
    let server = Server::start(|request| match request.target.as_str() {
        "/x" => Reply::redirect("/storage/1"),
        _ => Reply::ok(content(1, LARGE)),
    });
    let tdl = fetched(mode, &[&server.url("/x").replace("://", "://user:word@")]);
    let path = tdl.out().join("x");
    let mut names = [0; 4096];
    let length = llistxattr(&path, &mut names).unwrap();
    let ours: Vec<_> = names[..length].split(|byte| *byte == 0).filter(|name| name.starts_with(b"user.")).collect();
    assert_eq!(ours, [MARK.as_bytes()]);
    let found = mark(&path).unwrap();
    assert_eq!(found.len(), 32);
    assert_skipped(tdl.rerun(&[&server.url("/x")]), "fetched from this URL");
}

in_both_modes!(a_file_without_a_valid_mark_is_there_and_not_checked);
fn a_file_without_a_valid_mark_is_there_and_not_checked(mode: Mode) {
    if !keeps_attributes() {
        return;
    }
    let server = server();
    let tdl = fetch_in(mode).file("out/x", "the user's");
    assert_skipped(tdl.rerun(&[&server.url("/x")]), "not checked");
    for value in [&b""[..], b"http://h/x", &[0; 33]] {
        lsetxattr(tdl.out().join("x"), MARK, value, XattrFlags::empty()).unwrap();
        assert_skipped(tdl.rerun(&[&server.url("/x")]), "not checked");
    }
    let output = tdl.rerun(&[&server.url("/x"), "--json"]).assert_code(0);
    assert!(output.stdout.contains("\"checked\":false,\"reason\":\"exists\""), "{}", output.stdout);
    assert_eq!((tdl.read("x"), server.requests().len()), (b"the user's".to_vec(), 0));
}

in_both_modes!(another_urls_file_is_replaced_on_request_and_fails_otherwise);
fn another_urls_file_is_replaced_on_request_and_fails_otherwise(mode: Mode) {
    if !keeps_attributes() {
        return;
    }
    let server = server();
    let (a, b) = (server.url("/a/x"), server.url("/b/x"));
    let tdl = fetched(mode, &[&a]);
    let failed = tdl.rerun(&[&b, "--if-exists", "fail"]).assert_code(1);
    assert!(failed.stderr.contains("out/x already exists; --if-exists"), "{}", failed.stderr);
    tdl.rerun(&[&b, "--if-exists", "overwrite"]).assert_code(0);
    assert!(tdl.read("x") == large("/b/x"));
    assert_skipped(tdl.rerun(&[&b]), "fetched from this URL");
    tdl.rerun(&[&a]).assert_code(1);
}

in_both_modes!(another_urls_file_is_not_updated);
fn another_urls_file_is_not_updated(mode: Mode) {
    if !keeps_attributes() {
        return;
    }
    let server = Server::start(|request| match request.header("if-modified-since") {
        Some(_) => Reply::status(304),
        None => Reply::ok(content(1, LARGE)),
    });
    let (a, b) = (server.url("/a/x"), server.url("/b/x"));
    let tdl = fetched(mode, &[&a]);
    let output = tdl.rerun(&[&b, "--if-exists", "update"]).assert_code(1);
    assert!(output.stderr.contains("out/x is there, but from another URL; "), "{}", output.stderr);
    assert_eq!(server.requests().len(), 1, "its time says nothing about this URL's file");
    let output = tdl.rerun(&[&a, "--if-exists", "update", "--json"]).assert_code(0);
    assert!(output.stdout.contains("\"checked\":true,\"reason\":\"unchanged\""), "{}", output.stdout);
    assert_eq!(server.requests().len(), 2);
}

in_both_modes!(a_resumed_file_is_marked);
fn a_resumed_file_is_marked(mode: Mode) {
    if !keeps_attributes() {
        return;
    }
    let server = Server::start(|request| match request.number {
        0 => Reply::file(request, &content(1, LARGE), "\"one\"").cut_after(120_000),
        _ => Reply::file(request, &content(1, LARGE), "\"one\""),
    });
    let mut tdl = fetch_in(mode).args([&server.url("/x"), "--retries", "0"]);
    tdl.run().assert_code(75);
    assert_eq!(mark(&tdl.out().join("x.part")), None, "only a whole file is marked");
    tdl.run().assert_code(0);
    assert_eq!(server.requests()[1].header("range"), Some("bytes=120000-"));
    assert_skipped(tdl.rerun(&[&server.url("/x")]), "fetched from this URL");
    tdl.rerun(&[&server.url("/other/x")]).assert_code(1);
}

in_both_modes!(the_origin_of_a_file_that_appears_during_a_download_counts);
fn the_origin_of_a_file_that_appears_during_a_download_counts(mode: Mode) {
    if !keeps_attributes() {
        return;
    }
    for (policy, other, code) in [
        ("skip", "/x", 0),
        ("skip", "/other/x", 1),
        ("update", "/x", 0),
        ("update", "/other/x", 1),
        ("rename", "/x", 0),
    ] {
        for length in [10, LARGE] {
            let gate = Arc::new(Gate::default());
            let held = Arc::clone(&gate);
            let server = Server::start(move |request| match request.number {
                0 => Reply::ok(content(1, length)).held_until(&held),
                _ => Reply::ok(content(2, length)),
            });
            let mut tdl = fetch_in(mode).args([&server.url("/x"), "--if-exists", policy, "-v"]);
            let child = tdl.spawn();
            server.wait_for_requests(1);
            fs::create_dir_all(tdl.out()).unwrap();
            // As another run would leave it: fetched elsewhere, and given its name at once.
            let elsewhere = fetched(mode, &[&server.url(other)]);
            fs::rename(elsewhere.out().join("x"), tdl.out().join("x")).unwrap();
            gate.open();
            let output = Output::from(child).assert_code(code);
            let said = match (policy, code) {
                ("rename", _) => ", to out/x-2; ",
                (_, 0) => "x exists, fetched from this URL",
                _ => "failed: out/x is there, but from another URL; --if-exists rename",
            };
            assert!(output.stderr.contains(said), "{policy} {other}: {}", output.stderr);
            assert!(tdl.read("x") == content(2, length), "{policy} {other}");
            let names: &[&str] = if policy == "rename" { &["x", "x-2"] } else { &["x"] };
            assert_eq!(tdl.names(), names, "{policy} {other} {length}");
        }
    }
}

in_both_modes!(an_update_does_not_replace_another_urls_file_that_appeared_since);
fn an_update_does_not_replace_another_urls_file_that_appeared_since(mode: Mode) {
    if !keeps_attributes() {
        return;
    }
    for length in [10, LARGE] {
        let gate = Arc::new(Gate::default());
        let held = Arc::clone(&gate);
        let server = Server::start(move |request| match request.number {
            0 => Reply::ok(content(1, length)).held_until(&held),
            _ => Reply::ok(content(2, length)),
        });
        let mut tdl = fetch_in(mode).args([&server.url("/x"), "--if-exists", "update"]).file("out/x", "the user's");
        let child = tdl.spawn();
        server.wait_for_requests(1);
        let elsewhere = fetched(mode, &[&server.url("/other/x")]);
        fs::rename(elsewhere.out().join("x"), tdl.out().join("x")).unwrap();
        gate.open();
        let output = Output::from(child).assert_code(1);
        assert!(output.stderr.contains("failed: out/x is there, but from another URL"), "{}", output.stderr);
        assert!(tdl.read("x") == content(2, length) && tdl.names() == ["x"]);
    }
}

in_both_modes!(a_file_that_appears_between_two_attempts_ends_the_download);
fn a_file_that_appears_between_two_attempts_ends_the_download(mode: Mode) {
    if !keeps_attributes() {
        return;
    }
    for (other, said) in [("/x", "x exists, fetched from this URL"), ("/other/x", "x is there, but from another URL")] {
        let tdl = fetch_in(mode);
        let (elsewhere, target) = (fetch_in(mode), tdl.out().join("x"));
        let (source, named) = (elsewhere.out().join("x"), target.clone());
        let server = Server::start(move |request| match request.number {
            0 => Reply::ok(content(2, LARGE)),
            _ => {
                fs::create_dir_all(named.parent().unwrap()).unwrap();
                fs::rename(&source, &named).unwrap();
                Reply::file(request, &content(1, LARGE), "\"one\"").cut_after(120_000)
            }
        });
        elsewhere.rerun(&[&server.url(other)]).assert_code(0);
        let output = tdl.rerun(&[&server.url("/x"), "--retries", "1"]);
        assert!(output.stderr.contains(": retrying in ") && output.stderr.contains(said), "{output:?}");
        assert_eq!(output.code, Some(i32::from(other != "/x")));
        assert!(fs::read(&target).unwrap() == content(2, LARGE));
        assert_eq!((tdl.names(), server.requests().len()), (vec!["x".to_owned()], 2));
    }
}

in_both_modes!(a_dry_run_says_where_existing_files_are_from);
fn a_dry_run_says_where_existing_files_are_from(mode: Mode) {
    if !keeps_attributes() {
        return;
    }
    let server = server();
    let [a, b, other, c, d] = ["/a", "/b", "/other/b", "/c", "/d"].map(|path| server.url(path));
    let tdl = fetched(mode, &[&a, &b]);
    fs::write(tdl.out().join("c"), "the user's").unwrap();
    let output = tdl.rerun(&[&a, &other, &c, &d, "--dry-run"]).assert_code(0);
    let expected = format!(
        "{a} -> out/a (exists, fetched from this URL)\n{other} -> out/b (exists, fetched from another URL)\n\
         {c} -> out/c (exists)\n{d} -> out/d\n"
    );
    assert_eq!(output.stdout, expected);
}

#[test]
fn a_long_list_knows_the_origin_of_each_file() {
    if !keeps_attributes() {
        return;
    }
    let server = Server::echo();
    let list = |directory: &str| -> String {
        (0..1200).map(|number| server.url(&format!("/{directory}/{number}")) + "\n").collect()
    };
    let tdl = fetch().file("a", list("a")).file("b", list("b"));
    tdl.rerun(&["-i", "a"]).assert_code(0);
    let again = tdl.rerun(&["-i", "a"]).assert_code(0);
    assert!(again.stdout.contains(": all were there before (fetched from their URLs)\n"), "{}", again.stdout);
    assert_eq!(again.stderr.lines().filter(|line| line.contains(": skipped, ")).count(), 1000);
    let dry = tdl.rerun(&["-i", "b", "--dry-run"]).assert_code(0);
    assert_eq!(dry.stdout.matches(" (exists, fetched from another URL)\n").count(), 1200);
    let other = tdl.rerun(&["-i", "b"]).assert_code(1);
    assert!(other.stdout.starts_with("0 of 1200 files are there\n1200 failed:\n"), "{}", other.stdout);
    assert_eq!(server.requests().len(), 1200);
}

#[test]
fn a_file_from_any_source_of_a_download_is_there() {
    if !keeps_attributes() {
        return;
    }
    for mode in [RunMode::Concurrent, RunMode::Sequential] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(|request| match request.target.as_str() {
            "/missing/x" => Reply::status(404),
            _ => Reply::ok("x"),
        });
        let url = |path: &str| WebUrl::parse(&server.url(path)).unwrap();
        let mut options = Options::default();
        options.output.directory = dir.path().join("out");
        options.limits.mode = mode;
        let fetch = |entry: Entry, if_exists: IfExists| {
            let mut options = options.clone();
            options.output.if_exists = if_exists;
            let outcomes = Mutex::new(Vec::new());
            let reporter = |event: &Event<'_>| {
                if let Event::Finished(_, finished) = event {
                    outcomes.lock().unwrap().push(match &finished.outcome {
                        Outcome::Fetched(_) => "fetched".to_owned(),
                        Outcome::Skipped(reason) => format!("{reason:?}"),
                        Outcome::Failed(failure) => failure.kind().to_owned(),
                        other => format!("{other:?}"),
                    });
                }
            };
            let summary = run(&Plan::new([entry], |_| false), &options, &reporter, &CancelToken::new()).unwrap();
            (outcomes.into_inner().unwrap().remove(0), summary.same_source)
        };
        let both = || Entry::from(url("/missing/x")).with_mirror(url("/mirror/x"));
        assert_eq!(fetch(both(), IfExists::Skip), ("fetched".to_owned(), 0));
        // It is marked with the source that it came from.
        let same = (format!("{:?}", SkipReason::SameSource), 1);
        assert_eq!(fetch(both(), IfExists::Skip), same);
        assert_eq!(fetch(url("/mirror/x").into(), IfExists::Skip), same);
        assert_eq!(fetch(url("/missing/x").into(), IfExists::Skip), ("another-url".to_owned(), 0));
        let with_third = Entry::from(url("/third/x")).with_mirror(url("/mirror/x"));
        assert_eq!(fetch(with_third, IfExists::Skip), same);
        let elsewhere = Entry::from(url("/third/x")).with_mirror(url("/fourth/x"));
        assert_eq!(fetch(elsewhere, IfExists::Update), ("another-url".to_owned(), 0));
    }
}

#[cfg(target_os = "linux")]
in_both_modes!(
    #[ignore = "needs strace"]
    files_arrive_where_they_cannot_be_marked
);
#[cfg(target_os = "linux")]
fn files_arrive_where_they_cannot_be_marked(mode: Mode) {
    let server = server();
    for error in ["EOPNOTSUPP", "EPERM", "ENOSPC", "EDQUOT", "ENOSYS"] {
        let urls = ["/small/x", "/y"].map(|path| server.url(path));
        let traced = ["-f", "-o", "trace", "-e", "trace=fsetxattr,lgetxattr"];
        let injected = ["-e", &format!("inject=fsetxattr,lgetxattr:error={error}")];
        let mut tdl = fetch_in(mode).args(&urls).under("strace").prefix_args(&traced).prefix_args(&injected);
        tdl.run().assert_code(0);
        assert_eq!((tdl.read("x"), tdl.read("y") == large("/y")), (b"/small/x".to_vec(), true));
        assert_eq!(fs::read_to_string(tdl.dir.path().join("trace")).unwrap().matches("fsetxattr(").count(), 2);
        assert_eq!((mark(&tdl.out().join("x")), mark(&tdl.out().join("y"))), (None, None));
        assert_skipped(tdl.run(), "not checked");
    }
}

#[cfg(target_os = "linux")]
in_both_modes!(
    #[ignore = "needs strace"]
    a_file_is_marked_before_it_has_its_name_and_is_synced
);
#[cfg(target_os = "linux")]
fn a_file_is_marked_before_it_has_its_name_and_is_synced(mode: Mode) {
    let server = server();
    for path in ["/small/x", "/x"] {
        let calls = ["-f", "-o", "trace", "-e", "trace=fsetxattr,fsync,fdatasync,linkat,renameat2"];
        let mut tdl = fetch_in(mode).args([&server.url(path), "--fsync"]).under("strace").prefix_args(&calls);
        tdl.run().assert_code(0);
        let trace = fs::read_to_string(tdl.dir.path().join("trace")).unwrap();
        let names = |line: &&str| line.contains("\"out/x\"") || line.contains("/x\", AT_");
        let order: Vec<_> = trace
            .lines()
            .skip_while(|line| !line.contains("fsetxattr("))
            .take_while(|line| !names(line))
            .map(|line| line.split_whitespace().nth(1).unwrap().split('(').next().unwrap())
            .collect();
        assert_eq!(order[0], "fsetxattr", "{trace}");
        assert!(order[1..].iter().any(|call| ["fsync", "fdatasync"].contains(call)), "{trace}");
        assert!(trace.lines().any(|line| names(&line)), "{trace}");
    }
}

/// What each file of the output directory holds: the paths that the server was asked for.
fn files(tdl: &Tdl) -> Vec<(String, String)> {
    tdl.names().into_iter().map(|name| (name.clone(), String::from_utf8(tdl.read(&name)).unwrap())).collect()
}

#[test]
fn each_url_keeps_its_name_when_the_list_changes() {
    let server = Server::start(|request| Reply::ok(request.target.as_str()));
    let url = |path: &str| server.url(path);
    let mut tdl = fetch().args([&url("/a/x"), &url("/b/x"), &url("/c/x"), &url("/get?id=1"), &url("/get?id=2")]);
    if !keeps_attributes() {
        return;
    }
    tdl.run().assert_code(0);
    let named = |pairs: &[(&str, &str)]| -> Vec<_> {
        pairs.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect()
    };
    let first =
        named(&[("get@id=1", "/get?id=1"), ("get@id=2", "/get?id=2"), ("x", "/a/x"), ("x-2", "/b/x"), ("x-3", "/c/x")]);
    assert_eq!(files(&tdl), first);
    // Shorter, in another order, and one alone.
    for urls in
        [&["/a/x", "/c/x"][..], &["/c/x", "/b/x", "/a/x"], &["/c/x"], &["/get?id=2"], &["/get?id=2", "/get?id=1"]]
    {
        let urls: Vec<_> = urls.iter().map(|path| url(path)).collect();
        let output = tdl.rerun(&urls.iter().map(String::as_str).collect::<Vec<_>>()).assert_code(0);
        assert_eq!(output.stderr.matches("fetched from this URL").count(), urls.len(), "{}", output.stderr);
    }
    let output = tdl.rerun(&[&url("/get?id=2"), &url("/c/x"), "--dry-run"]).assert_code(0);
    for name in ["get@id=2", "x-3"] {
        assert!(output.stdout.contains(&format!("out/{name} (exists, fetched from this URL)\n")), "{}", output.stdout);
    }
    assert_eq!((files(&tdl), server.requests().len()), (first, 5));
    // Longer: what is new gets the next free name.
    tdl.rerun(&[&url("/d/x"), &url("/a/x"), &url("/get?id=3"), &url("/get?id=1")]).assert_code(0);
    let found = files(&tdl);
    assert!(found.contains(&("x-4".to_owned(), "/d/x".to_owned())), "{found:?}");
    assert!(found.contains(&("get@id=3".to_owned(), "/get?id=3".to_owned())), "{found:?}");
    assert_eq!((found.len(), server.requests().len()), (7, 7));
}

#[test]
fn a_gap_in_the_numbers_does_not_lose_a_file() {
    if !keeps_attributes() {
        return;
    }
    let server = Server::start(|request| Reply::ok(request.target.as_str()));
    let url = |path: &str| server.url(path);
    let mut tdl = fetch().args([&url("/a/x"), &url("/b/x"), &url("/c/x")]);
    tdl.run().assert_code(0);
    fs::remove_file(tdl.out().join("x-2")).unwrap();
    let output = tdl.rerun(&[&url("/c/x")]).assert_code(0);
    assert!(output.stderr.contains("skipped, x-3 exists, fetched from this URL"), "{}", output.stderr);
    // What is replaced is the URL's own file.
    tdl.rerun(&[&url("/c/x"), "--if-exists", "overwrite"]).assert_code(0);
    assert_eq!((tdl.read("x"), tdl.read("x-3")), (b"/a/x".to_vec(), b"/c/x".to_vec()));
}

#[test]
fn two_downloads_from_one_url_have_a_file_each() {
    if !keeps_attributes() {
        return;
    }
    let server = Server::start(|request| Reply::ok(request.target.as_str()));
    let list = format!("{0}\n header=X-S: 1\n{0}\n header=X-S: 2\n", server.url("/x"));
    let mut tdl = fetch().args(["-i", "list"]).file("list", list);
    tdl.run().assert_code(0);
    fs::remove_file(tdl.out().join("x")).unwrap();
    tdl.rerun(&["-i", "list"]).assert_code(0);
    assert_eq!(tdl.names(), ["x", "x-2"]);
}
