//! Reading lists and the command line, and refusing invalid ones before any request.

use std::fs;

use crate::command::{Tdl, fetch};
use crate::server::Server;

/// A command with a list of this many URLs, `http://127.0.0.1:9/0` and so on, and the files of all but the last.
fn nearly_finished(count: usize) -> Tdl {
    let list: String = (0..count).map(|number| format!("http://127.0.0.1:9/{number}\n")).collect();
    let tdl = fetch().args(["-i", "urls.txt", "--retries=0"]).file("urls.txt", list);
    fs::create_dir_all(tdl.out()).unwrap();
    (0..count - 1).for_each(|number| fs::write(tdl.out().join(number.to_string()), "").unwrap());
    tdl
}

#[test]
fn a_dry_run_of_a_long_list_says_what_exists() {
    let output = nearly_finished(1500).arg("--dry-run").run().assert_code(0);
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 1500);
    assert!(lines[..1499].iter().all(|line| line.ends_with(" (exists)")), "{}", output.stdout);
    assert_eq!(lines[1499], "http://127.0.0.1:9/1499 -> out/1499");
}

#[test]
fn a_run_of_a_long_list_removes_what_a_killed_run_left_beside_complete_files() {
    let mut tdl = nearly_finished(1500);
    let out = tdl.out();
    fs::hard_link(out.join("7"), out.join("7.part")).unwrap();
    fs::write(out.join("8.part"), "another file").unwrap();
    tdl.run().assert_code(75);
    assert!(!out.join("7.part").exists() && out.join("7").exists());
    assert!(out.join("8.part").exists());
}

#[test]
fn of_many_files_that_exist_the_first_thousand_are_shown() {
    let skipped = |output: &str| output.lines().filter(|line| line.contains(": skipped, ")).count();
    let output = nearly_finished(1500).run().assert_code(75);
    assert_eq!(skipped(&output.stderr), 1000);
    assert_eq!(output.stderr.matches("more than 1000 files exist: the rest are only counted").count(), 1);
    assert!(output.stdout.contains(": 1499 were there before (not checked)\n"), "{}", output.stdout);
    assert_eq!(skipped(&nearly_finished(1500).arg("-v").run().assert_code(75).stderr), 1499);
}

#[test]
fn lists_arguments_and_standard_input_are_combined() {
    let server = Server::echo();
    let url = |path| server.url(path);
    let mut tdl = fetch()
        .args([&url("/argument"), "-i", "one.txt", "-i", "-", "-i", "two.txt"])
        .file("one.txt", format!("\u{feff}# comment\r\n{}\r\n\r\n", url("/one")))
        .file("two.txt", format!("  {}  \n", url("/two")))
        .input(&url("/stdin"));
    tdl.run().assert_code(0);
    assert_eq!(tdl.names(), ["argument", "one", "stdin", "two"]);
}

#[test]
fn an_invalid_url_is_refused_before_any_request() {
    let server = Server::echo();
    let mut tdl = fetch().args(["-i", "urls.txt"]).file(
        "urls.txt",
        format!(
            "{}\nnot a url\nexample.com/file\nftp://host/x\n{} {}\n",
            server.url("/a"),
            server.url("/b"),
            server.url("/c")
        ),
    );
    let output = tdl.run().assert_code(2);
    let lines: Vec<_> = output.stderr.lines().collect();
    assert_eq!(lines[0], "error: urls.txt:2: 'not a url' is not an absolute URL");
    assert_eq!(
        lines[1],
        "error: urls.txt:3: 'example.com/file' is not an absolute URL; did you mean https://example.com/file?"
    );
    assert_eq!(
        lines[2],
        "error: urls.txt:4: 'ftp://host/x' is not an http or https URL; many FTP servers answer https as well: try https://host/x"
    );
    assert!(
        lines[3].starts_with("error: urls.txt:5: ") && lines[3].contains("several URLs are in one line"),
        "{}",
        lines[3]
    );
    assert_eq!((lines.len(), output.stdout.as_str()), (4, ""));
    assert_eq!(server.requests().len(), 0);
    assert!(!tdl.out().exists());
}

#[test]
fn a_long_list_of_errors_is_cut() {
    let list = "nonsense\n".repeat(25);
    let output = fetch().args(["-i", "urls.txt"]).file("urls.txt", list).run().assert_code(2);
    assert_eq!(output.stderr.lines().count(), 11);
    assert!(output.stderr.ends_with("error: 15 more are invalid\n"), "{}", output.stderr);
}

#[test]
fn likely_mistakes_come_with_their_fix() {
    for (arguments, message) in [
        (&["urls.txt"][..], "'urls.txt' is not an absolute URL; to read a list, use -i urls.txt\n"),
        (&["-"], "'-' is not an absolute URL; to read a list, use -i -\n"),
        (&["www.example.com"], "'www.example.com' is not an absolute URL; did you mean https://www.example.com?\n"),
        (&["-i", "-", "-i", "-"], "-i -: standard input can be read only once\n"),
        (&["-O", "a/b", "http://h/x"], "-O \"a/b\": a name cannot contain a directory; use -o DIR for that\n"),
        (&["-O", "x", "http://h/x", "http://h/y"], "-O names the file of a single URL, but there are 2\n"),
        (&["-H", "Range: bytes=1-", "http://h/x"], "-H \"Range\": Range is set by tdl itself\n"),
        (
            &["-H", "Proxy-Authorization: Basic secret", "http://h/x"],
            "-H \"Proxy-Authorization\": it would be sent to the servers; put the credentials in the proxy URL, as in \
             http_proxy=http://USER:PASSWORD@HOST:PORT\n",
        ),
        (&["-H", "secret", "http://h/x"], "-H \"...\": expected 'Name: value'\n"),
    ] {
        let output = fetch().args(arguments).file("urls.txt", "").run().assert_code(2);
        assert_eq!(output.stderr, format!("error: {message}"));
    }
}

#[test]
fn what_is_no_list_is_refused() {
    let output = fetch().args(["-i", "long"]).file("long", vec![b'x'; 2 << 20]).run().assert_code(2);
    assert_eq!(output.stderr, "error: long:1: the line is too long: is this a list?\n");
    let output = fetch().args(["-i", "."]).run().assert_code(2);
    assert_eq!(output.stderr, "error: .: this is a directory, not a list\n");
}

#[test]
fn numbers_are_asked_for_in_plain_words() {
    for (option, value, expected) in [
        ("--jobs", "0", "expected a whole number from 1 to 65535"),
        ("--per-host", "many", "expected a whole number from 1 to 65535"),
        ("--retries", "-1", "expected a whole number from 0 to 4294967295"),
    ] {
        let output = fetch().args([&format!("{option}={value}"), "http://127.0.0.1:9/x"]).run().assert_code(2);
        let message = format!("error: invalid value '{value}' for '{option} <N>': {expected}\n");
        assert!(output.stderr.starts_with(&message), "{}", output.stderr);
    }
}

#[test]
fn an_empty_list_is_an_error() {
    for list in ["", "\n\n", "# nothing\n"] {
        let output = fetch().args(["-i", "urls.txt"]).file("urls.txt", list).run().assert_code(2);
        assert!(output.stderr.starts_with("error: nothing to download"), "{}", output.stderr);
    }
    fetch().run().assert_code(2);
    fetch().args(["-i", "missing.txt"]).run().assert_code(2);
}

#[test]
fn the_command_line_is_checked() {
    for arguments in [
        &["--jobs", "0"][..],
        &["--per-host", "0"],
        &["--stall-timeout", "0s"],
        &["--connect-timeout", "soon"],
        &["--sequential", "--compare"],
        &["-q", "-v"],
        &["--if-exists", "maybe"],
        &["--no-such-option"],
    ] {
        fetch().args(arguments).arg("http://127.0.0.1:9/x").run().assert_code(2);
    }
}

#[test]
fn a_dry_run_makes_no_request() {
    let server = Server::echo();
    let url = server.url("/x?token=secret");
    let mut tdl = fetch().args([&url, &server.url("/y"), "--dry-run"]).file("out/y", "");
    let output = tdl.run().assert_code(0);
    let expected = format!("{}?token=*** -> out/x\n{} -> out/y (exists)\n", server.url("/x"), server.url("/y"));
    assert_eq!(output.stdout, expected);
    assert_eq!((server.requests().len(), tdl.names()), (0, vec!["y".to_owned()]));
}
