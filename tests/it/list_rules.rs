//! What holds for every list: digests and sizes, checksum files, layouts, paths that are refused, and mirrors.

use crate::command::{Output, Tdl, fetch};
use crate::server::{Reply, Server};

const ZEROS: &str = "00000000000000000000000000000000";

/// A command with a list `list` on an echoing server. `@` in the list is the server's URL.
fn with_list(list: &str) -> (Server, Tdl) {
    let server = Server::echo();
    let list = list.replace('@', &server.url(""));
    (server, fetch().args(["-i", "list", "--retries=0"]).file("list", list))
}

/// Asserts that a list is refused with these errors, before any request.
#[track_caller]
fn assert_refused(list: &str, errors: &[&str]) {
    let (server, mut tdl) = with_list(list);
    let output = tdl.run().assert_code(2);
    let expected: String = errors.iter().map(|error| format!("error: list:{error}\n")).collect();
    assert_eq!(output.stderr, expected);
    assert_eq!((server.requests().len(), tdl.out().exists()), (0, false));
}

#[track_caller]
fn assert_shown(output: &Output, text: &str) {
    assert!((output.stdout.clone() + &output.stderr).contains(text), "{output:?}");
}

#[test]
fn a_file_with_a_wrong_digest_is_not_kept() {
    let (_server, mut tdl) = with_list(&format!("@/a\n  checksum=md5={ZEROS}\n@/b\n"));
    let output = tdl.run().assert_code(1);
    assert_shown(&output, &format!("the file has the md5 0639767f3e9eaad729b54037a7e2abf5, but {ZEROS} was expected"));
    assert_eq!(tdl.names(), ["b"]);
}

#[test]
fn a_file_with_a_wrong_size_is_not_kept() {
    let (server, tdl) = with_list("");
    let url = server.url("/a");
    let mut tdl = tdl.file("list", format!("{{\"url\": \"{url}\", \"size\": 7}}"));
    let output = tdl.run().assert_code(1);
    assert_shown(&output, "the file has 2 bytes, but 7 were expected");
    assert_eq!(tdl.names(), [""; 0]);
}

#[test]
fn sums_and_files_without_counterparts_are_named() {
    let sums = format!("{ZEROS}  a\nMD5 (gone) = {ZEROS}\n");
    let (_server, tdl) = with_list("@/a\n@/b\n");
    let mut tdl = tdl.args(["--sums", "SUMS"]).file("SUMS", sums);
    let output = tdl.run().assert_code(1);
    assert_shown(&output, "warning: --sums: 1 sum has no file in the list: gone\n");
    assert_shown(&output, "warning: --sums: 1 file has no sum: b\n");
    assert_shown(&output, &format!("but {ZEROS} was expected"));
    assert_eq!(tdl.names(), ["b"]);
}

#[test]
fn a_layout_puts_files_into_the_directories_of_their_urls() {
    let list = "@/x/y/a?z=1\n@/x/b\n@/x/c\tnamed\n";
    for (layout, files) in [("flat", ["a", "b", "named"]), ("path", ["x/y/a", "x/b", "named"])] {
        let (_server, tdl) = with_list(list);
        let mut tdl = tdl.args(["--layout", layout]);
        tdl.run().assert_code(0);
        assert_eq!(files.map(|file| tdl.read(file).len()), ["/x/y/a?z=1", "/x/b", "/x/c"].map(str::len));
    }
    let (server, tdl) = with_list(list);
    let host = server.url("").replace("http://", "").replace(':', "_");
    let mut tdl = tdl.args(["--layout", "host"]);
    tdl.run().assert_code(0);
    assert_eq!(tdl.read(&format!("{host}/x/y/a")), b"/x/y/a?z=1");
    assert_eq!(tdl.names(), [host, "named".to_owned()]);
}

#[test]
fn targets_that_clash_are_refused_with_both_lines() {
    assert_refused("@/a\tx\n\n@/b\tX\n", &["3: the target 'X' is also that of list:1"]);
    assert_refused("@/a\tx\n@/b\tx/y\n", &["1: 'x' would be a file and a directory at once, because of list:2"]);
}

#[test]
fn paths_outside_the_output_directory_are_refused() {
    for (path, problem) in [
        ("../x", "leads out of the output directory"),
        ("a/../../x", "leads out of the output directory"),
        ("a\\..\\x", "leads out of the output directory"),
        ("/x", "is an absolute path; paths of a list are below the output directory"),
        ("C:\\x", "is an absolute path; paths of a list are below the output directory"),
        ("\\\\host\\x", "is an absolute path; paths of a list are below the output directory"),
        ("a/nul.txt", "contains the name of a Windows device"),
        ("a/", "names a directory"),
    ] {
        assert_refused(&format!("@/good\n@/bad\t{path}\n"), &[&format!("2: the path '{path}' {problem}")]);
        let json = serde_json::json!({ "url": "http://h/bad", "out": path });
        assert_refused(&format!("{json}\n"), &[&format!("1: the path '{path}' {problem}")]);
    }
    assert_refused("@/bad\ta\0b\n", &["1: the path 'a\\u{0}b' contains a NUL character"]);
}

#[test]
fn the_rest_of_a_list_can_be_fetched_although_lines_are_invalid() {
    let (_server, tdl) = with_list("@/a\nnot a url\n@/b\t../b\n@/c\tx\n@/d\tx\n@/e\n");
    let mut tdl = tdl.arg("--keep-going");
    let output = tdl.run().assert_code(1);
    for error in [
        "list:2: 'not a url' is not an absolute URL\n",
        "list:3: the path '../b' leads out of the output directory\n",
        "list:5: the target 'x' is also that of list:4\n",
    ] {
        assert_shown(&output, error);
    }
    assert_eq!(tdl.names(), ["a", "e", "x"]);
}

#[cfg(unix)]
#[test]
fn a_link_to_a_directory_is_not_followed() {
    use std::fs;

    let (_server, mut tdl) = with_list("@/a\tlink/a\n@/b\tlink/deep/b\n@/c\n");
    let elsewhere = tdl.dir.path().join("elsewhere");
    fs::create_dir_all(tdl.out()).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink("../elsewhere", tdl.out().join("link")).unwrap();
    let output = tdl.run().assert_code(1);
    assert_shown(&output, "link");
    assert_eq!((crate::command::names(&elsewhere), tdl.read("c")), (Vec::new(), b"/c".to_vec()));
}

#[test]
fn mirrors_are_tried_in_order_and_get_no_headers_of_another_host() {
    let missing = || Server::start(|_| Reply::status(404));
    let (first, second, third, unused) = (missing(), missing(), Server::echo(), Server::echo());
    let list = [&first, &second, &third, &unused].map(|server| server.url("/a")).join("\t");
    let list = format!("{list}\n  header=X-Key: 1\n  out=x\n");
    let mut tdl = fetch().args(["-i", "list", "-H", "Authorization: Bearer 1"]).file("list", list);
    tdl.run().assert_code(0);
    assert_eq!(tdl.read("x"), b"/a");
    assert_eq!([&first, &second, &third, &unused].map(|server| server.requests().len()), [1, 1, 1, 0]);
    let keys = |server: &Server| ["authorization", "x-key"].map(|name| server.requests()[0].header(name).is_some());
    assert_eq!([&first, &second, &third].map(keys), [[true; 2], [false; 2], [false; 2]]);
}
