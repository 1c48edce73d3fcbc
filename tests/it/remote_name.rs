//! Names from the server: `--remote-name`.

use std::fs;
use std::sync::Arc;

use tdl::options::Options;
use tdl::{CancelToken, Entry, Event, Outcome, Plan, SafeName, WebUrl, run};

use crate::command::{Output, content, fetch, fetch_in, wait_for};
use crate::mode::{Mode, in_both_modes};
use crate::server::{Gate, Reply, Request, Server};

fn named(reply: Reply, name: &str) -> Reply {
    reply.header("Content-Disposition", format!("attachment; filename=\"{name}\""))
}

/// A server of small files, each of which has this name and its path as content.
fn naming(name: &'static str) -> Server {
    Server::start(move |request| named(Reply::ok(request.target.clone()), name))
}

#[test]
fn a_file_is_named_by_its_response() {
    let server = Server::start(|request| {
        let reply = Reply::ok(request.target.clone());
        match request.target.as_str() {
            "/1?id=7" => named(reply, "report.pdf"),
            "/2" => reply.header("Content-Disposition", "attachment; filename=x; filename*=UTF-8''caf%C3%A9.txt"),
            "/3" => reply.header("Content-Disposition", "inline; filename=\"naïve.txt\""),
            "/data/4.csv?token=a" => reply.header("Content-Disposition", "attachment"),
            "/5" => reply.header("Content-Disposition", "attachment; filename=\"broken"),
            "/6" => named(named(reply, "a"), "b"),
            "/7" => named(named(reply, "same"), "same"),
            "/8" => named(Reply::redirect("/there/final%20name.bin?x=1"), "not-this"),
            "/9" => Reply::redirect("/there/"),
            "/10" => Reply::redirect("/there/.hidden"),
            _ => reply,
        }
    });
    let paths = ["/1?id=7", "/2", "/3", "/data/4.csv?token=a", "/5", "/6", "/7", "/8", "/9", "/10"];
    let mut tdl = fetch().arg("--remote-name").args(paths.map(|path| server.url(path)));
    let output = tdl.run().assert_code(0);
    let mut expected =
        ["report.pdf", "café.txt", "naïve.txt", "4.csv", "5", "6", "same", "final name.bin", "index.html", "hidden"];
    expected.sort_unstable();
    assert_eq!(tdl.names(), expected);
    assert_eq!(tdl.read("report.pdf"), b"/1?id=7");
    let line = format!("{}: fetched, 7 B in ", server.url("/1?id=7"));
    let line = output.stderr.lines().find(|shown| shown.starts_with(&line)).expect(&output.stderr);
    assert!(line.ends_with(", to out/report.pdf"), "{line}");
}

#[test]
fn without_the_option_the_header_means_nothing() {
    let server = naming("report.pdf");
    let mut tdl = fetch().arg(server.url("/x"));
    tdl.run().assert_code(0);
    assert_eq!(tdl.names(), ["x"]);
}

#[test]
fn hostile_names_stay_in_the_directory_and_are_safe() {
    const NAMES: [&str; 13] = [
        "../../etc/passwd",
        "..\\\\..\\\\boot.ini",
        "/absolute",
        ".part",
        ".profile",
        "x.part",
        "x.part.json",
        "NUL.txt",
        "",
        ".",
        "..",
        "a\u{202e}fdp.exe",
        "a:b|c*?.txt",
    ];
    let server = Server::start(|request| {
        let name = match request.target[1..].parse::<usize>() {
            Ok(number) => NAMES[number].to_owned(),
            Err(_) => format!("{}.tar.gz", "x".repeat(10_000)),
        };
        named(Reply::ok("x"), &name)
    });
    let mut tdl = fetch().args(["--remote-name", &server.url("/long")]);
    tdl = tdl.args((0..NAMES.len()).map(|number| server.url(&format!("/{number}"))));
    tdl.run().assert_code(0);
    let long = format!("{}.gz", "x".repeat(222));
    let mut expected = vec![
        "passwd",
        "boot.ini",
        "absolute",
        "part",
        "profile",
        "x.part_",
        "x.part.json_",
        "_NUL.txt",
        "8",
        "9",
        "10",
        "a_fdp.exe",
        "a_b_c__.txt",
        &long,
    ];
    expected.sort_unstable();
    assert_eq!(tdl.names(), expected);
    assert_eq!(crate::command::names(tdl.dir.path()), ["out"]);
}

in_both_modes!(an_existing_file_of_the_servers_name_is_treated_as_requested);
fn an_existing_file_of_the_servers_name_is_treated_as_requested(mode: Mode) {
    for length in [10, 2_000_000] {
        let body = content(1, length);
        let served = body.clone();
        let server = Server::start(move |request| named(Reply::file(request, &served, "\"a\""), "report.pdf"));
        for (policy, code, expected, replaced) in [
            ("skip", 0, &["report.pdf"][..], false),
            ("update", 0, &["report.pdf"], false),
            ("fail", 1, &["report.pdf"], false),
            ("rename", 0, &["report-2.pdf", "report.pdf"], false),
            ("overwrite", 0, &["report.pdf"], true),
        ] {
            let mut tdl = fetch_in(mode).args([&server.url("/x"), "--remote-name", "--if-exists", policy, "--json"]);
            tdl = tdl.file("out/report.pdf", "the user's");
            let output = tdl.run().assert_code(code);
            assert_eq!(tdl.names(), expected, "{policy}");
            assert!((tdl.read("report.pdf") == body) == replaced, "{policy}");
            if policy == "skip" || policy == "update" {
                let skipped = output.stdout.lines().find(|line| line.contains("\"event\":\"skipped\"")).unwrap();
                assert!(skipped.contains("\"out\":\"report.pdf\"") && skipped.contains("\"received\":0"), "{skipped}");
            }
        }
    }
}

#[test]
fn a_large_file_is_fetched_although_one_with_the_name_in_its_url_appears() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let server = Server::start(move |_| named(Reply::ok(content(1, 2_000_000)), "report.pdf").held_until(&held));
    let mut tdl = fetch().args([&server.url("/x"), "--remote-name"]);
    let child = tdl.spawn();
    server.wait_for_requests(1);
    fs::write(tdl.out().join("x"), "the user's").unwrap();
    gate.open();
    Output::from(child).assert_code(0);
    assert_eq!(tdl.names(), ["report.pdf", "x"]);
}

#[test]
fn a_skipped_file_is_reported_by_its_name() {
    let server = naming("report.pdf");
    let output = fetch().args([&server.url("/x"), "--remote-name"]).file("out/report.pdf", "").run().assert_code(0);
    assert_eq!(
        output.stderr.lines().last().unwrap(),
        format!("{}: skipped, report.pdf exists, not checked", server.url("/x"))
    );
}

in_both_modes!(the_name_in_the_url_does_not_matter);
fn the_name_in_the_url_does_not_matter(mode: Mode) {
    let server = naming("report.pdf");
    for policy in ["skip", "fail", "overwrite", "update"] {
        let mut tdl = fetch_in(mode).args([&server.url("/x"), "--remote-name", "--if-exists", policy]);
        tdl = tdl.file("out/x", "the user's");
        tdl.run().assert_code(0);
        assert_eq!(
            (tdl.names(), tdl.read("x")),
            (vec!["report.pdf".to_owned(), "x".to_owned()], b"the user's".to_vec())
        );
    }
}

in_both_modes!(a_directory_of_the_servers_name_fails_that_download);
fn a_directory_of_the_servers_name_fails_that_download(mode: Mode) {
    let server = naming("report.pdf");
    for policy in ["skip", "overwrite"] {
        let mut tdl = fetch_in(mode).args([&server.url("/x"), "--remote-name", "--if-exists", policy]);
        tdl = tdl.file("out/report.pdf/inside", "");
        let output = tdl.run().assert_code(1);
        assert!(output.stderr.contains("/x: failed: out/report.pdf is not a regular file\n"), "{}", output.stderr);
        assert_eq!(tdl.names(), ["report.pdf"]);
    }
}

in_both_modes!(files_of_one_name_are_numbered_and_a_rerun_fetches_none_again);
fn files_of_one_name_are_numbered_and_a_rerun_fetches_none_again(mode: Mode) {
    for policy in ["skip", "overwrite", "rename", "fail", "update"] {
        let server = naming("report.pdf");
        let urls = ["/a", "/b", "/c"].map(|path| server.url(path));
        let mut tdl = fetch_in(mode).args(["--remote-name", "--if-exists", policy]).args(&urls);
        tdl.run().assert_code(0);
        assert_eq!(tdl.names(), ["report-2.pdf", "report-3.pdf", "report.pdf"], "{policy}");
        let mut contents = ["report-2.pdf", "report-3.pdf", "report.pdf"].map(|name| tdl.read(name));
        contents.sort();
        assert_eq!(contents, ["/a", "/b", "/c"].map(|path| path.as_bytes().to_vec()), "{policy}");
        if policy == "skip" {
            let output = tdl.rerun(&["--remote-name", &urls[0], &urls[1], &urls[2]]).assert_code(0);
            assert_eq!(output.stderr.matches(": skipped, report").count(), 3, "{}", output.stderr);
            assert_eq!((tdl.names().len(), server.requests().len()), (3, 6), "a rerun asks again");
        }
    }
}

#[test]
fn another_downloads_target_is_not_taken() {
    let server = Server::start(|request| match request.target.as_str() {
        "/a" => named(Reply::ok("/a"), "B"),
        target => Reply::ok(target),
    });
    let mut tdl = fetch().args(["--remote-name", "--sequential", &server.url("/a"), &server.url("/b")]);
    tdl.run().assert_code(0);
    assert_eq!(tdl.names(), ["B-2", "b"]);
    assert_eq!((tdl.read("B-2"), tdl.read("b")), (b"/a".to_vec(), b"/b".to_vec()));
}

#[test]
fn a_given_target_is_kept() {
    let server = naming("report.pdf");
    let dir = tempfile::tempdir().unwrap();
    let entry = |path: &str| Entry::from(WebUrl::parse(&server.url(path)).unwrap());
    let entries = [entry("/a").with_target(SafeName::from_user("given").unwrap()), entry("/b")];
    let plan = Plan::new(entries, |_| false);
    let mut options = Options::default();
    options.output.directory = dir.path().to_owned();
    options.output.remote_name = true;
    let reporter = |event: &Event<'_>| {
        let Event::Finished(download, finished) = event else { return };
        let Outcome::Fetched(file) = &finished.outcome else { panic!("{finished:?}") };
        assert_eq!(file.target, *finished.target(download));
    };
    let summary = run(&plan, &options, &reporter, &CancelToken::new()).unwrap();
    assert_eq!(summary.fetched, 2);
    assert_eq!(crate::command::names(dir.path()), ["given", "report.pdf"]);
}

/// A file of 400,000 bytes whose first response is named and cut; the others are what a server may send for the rest.
fn cut_then(rest_is_named: bool) -> (Server, Vec<u8>) {
    let body = content(1, 400_000);
    let served = body.clone();
    let server = Server::start(move |request: &Request| {
        let reply = Reply::file(request, &served, "\"one\"");
        match request.number {
            0 => named(reply, "report.pdf").cut_after(200_000),
            _ if rest_is_named => named(reply, "report.pdf"),
            _ => reply,
        }
    });
    (server, body)
}

in_both_modes!(a_resumed_file_has_the_name_of_its_first_response);
fn a_resumed_file_has_the_name_of_its_first_response(mode: Mode) {
    for rest_is_named in [false, true] {
        // Within a run.
        let (server, body) = cut_then(rest_is_named);
        let mut tdl = fetch_in(mode).args([&server.url("/x"), "--remote-name", "--no-split"]);
        tdl.run().assert_code(0);
        assert_eq!((tdl.names(), tdl.read("report.pdf") == body), (vec!["report.pdf".to_owned()], true));
        assert_eq!(server.body_bytes_sent(), 400_000);

        // In the next one.
        let (server, body) = cut_then(rest_is_named);
        let mut tdl = fetch_in(mode).args([&server.url("/x"), "--remote-name", "--no-split", "--retries=0"]);
        tdl.run().assert_code(75);
        assert_eq!(tdl.names(), ["x.part", "x.part.json"]);
        tdl.rerun(&[&server.url("/x"), "--remote-name"]).assert_code(0);
        assert_eq!((tdl.names(), tdl.read("report.pdf") == body), (vec!["report.pdf".to_owned()], true));
        assert_eq!(server.body_bytes_sent(), 400_000);
    }
}

#[test]
fn a_part_file_that_is_already_complete_keeps_its_name() {
    let body = content(1, 200_000);
    let (served, gate) = (body.clone(), Arc::new(Gate::default()));
    let held = Arc::clone(&gate);
    let server = Server::start(move |request| match request.number {
        0 => named(Reply::file(request, &served, "\"one\""), "report.pdf").held_after(100_000, &held),
        _ => Reply::file(request, &served, "\"one\""),
    });
    let mut tdl = fetch().args([&server.url("/x"), "--remote-name", "--no-split"]);
    let child = tdl.spawn();
    wait_for(|| tdl.names().contains(&"x.part".to_owned()));
    fs::create_dir(tdl.out().join("report.pdf")).unwrap();
    gate.open();
    Output::from(child).assert_code(1);
    assert_eq!(tdl.names(), ["report.pdf", "x.part", "x.part.json"]);
    fs::remove_dir(tdl.out().join("report.pdf")).unwrap();
    tdl.rerun(&[&server.url("/x"), "--remote-name"]).assert_code(0);
    assert_eq!((tdl.names(), tdl.read("report.pdf") == body), (vec!["report.pdf".to_owned()], true));
    assert_eq!(server.body_bytes_sent(), 200_000 + "<h1>error 416</h1>".len());
}

#[test]
fn a_part_file_is_removed_if_its_file_is_there_already() {
    let (server, _) = cut_then(true);
    let mut tdl = fetch().args([&server.url("/x"), "--remote-name", "--no-split", "--retries=0"]);
    tdl.run().assert_code(75);
    fs::write(tdl.out().join("report.pdf"), "the user's").unwrap();
    tdl.rerun(&[&server.url("/x"), "--remote-name"]).assert_code(0);
    assert_eq!((tdl.names(), tdl.read("report.pdf")), (vec!["report.pdf".to_owned()], b"the user's".to_vec()));
}

in_both_modes!(a_file_that_appears_during_a_download_is_replaced_only_on_request);
fn a_file_that_appears_during_a_download_is_replaced_only_on_request(mode: Mode) {
    for (policy, code, expected, replaced) in [
        ("skip", 0, &["report.pdf"][..], false),
        ("rename", 0, &["report-2.pdf", "report.pdf"], false),
        ("fail", 1, &["report.pdf"], false),
        ("overwrite", 0, &["report.pdf"], true),
    ] {
        let gate = Arc::new(Gate::default());
        let held = Arc::clone(&gate);
        let server =
            Server::start(move |_| named(Reply::ok(content(1, 200_000)), "report.pdf").held_after(100_000, &held));
        let mut tdl = fetch_in(mode).args([&server.url("/x"), "--remote-name", "--if-exists", policy]);
        let child = tdl.spawn();
        wait_for(|| tdl.names().contains(&"x.part".to_owned()));
        fs::write(tdl.out().join("report.pdf"), "the user's").unwrap();
        gate.open();
        Output::from(child).assert_code(code);
        assert_eq!(tdl.names(), expected, "{policy}");
        assert_eq!(tdl.read("report.pdf") != b"the user's", replaced, "{policy}");
    }
}

#[test]
fn a_dry_run_shows_the_names_in_the_urls() {
    let server = naming("report.pdf");
    let tdl = fetch().args([&server.url("/x"), "--remote-name", "--dry-run"]);
    let output = tdl.file("out/x", "the user's").run().assert_code(0);
    assert_eq!(output.stdout, format!("{} -> out/x\n", server.url("/x")));
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn a_given_name_and_a_comparison_exclude_it() {
    for arguments in [&["-O", "y"][..], &["--compare"]] {
        let output = fetch().args(["http://h/x", "--remote-name"]).args(arguments).run().assert_code(2);
        assert!(output.stderr.contains("cannot be used with"), "{}", output.stderr);
    }
}

#[test]
fn the_name_is_in_the_directory_that_the_list_gives() {
    let server = naming("report.pdf");
    let list = format!("{}\n dir=sub\n{}\n", server.url("/a"), server.url("/b"));
    let mut tdl = fetch().args(["--remote-name", "-i", "list"]).file("list", list);
    tdl.run().assert_code(0);
    assert_eq!((tdl.read("sub/report.pdf"), tdl.read("report.pdf")), (b"/a".to_vec(), b"/b".to_vec()));
}
