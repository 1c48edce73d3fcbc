//! An input file of aria2 gives the same files with both programs. Ignored by default, as aria2 may be missing: install
//! Debian's `aria2` and run `cargo test -- --include-ignored`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use sha2::{Digest as _, Sha256};

use crate::command::Tdl;
use crate::server::{Reply, Request, Server};

#[test]
#[ignore = "needs aria2c"]
fn an_input_file_gives_the_files_that_aria2_makes_of_it() {
    let server = Server::start(|request| match request.target.as_str() {
        "/dead" => Reply::status(404),
        target => Reply::ok(format!("content of {target}")),
    });
    let sum: String =
        Sha256::digest("content of /e").iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let url = |path: &str| server.url(path);
    let list = [
        "# The first line is a comment.".to_owned(),
        url("/a.txt"),
        String::new(),
        format!("{}\t{}", url("/dead"), url("/b")),
        "  out=mirrored.bin".to_owned(),
        url("/c"),
        "\tdir=one".to_owned(),
        "# A comment may stand between options.".to_owned(),
        "\tout=two/c c.bin".to_owned(),
        url("/d.csv"),
        "  dir=one/three".to_owned(),
        url("/e"),
        format!("  checksum=sha-256={sum}"),
        "  split=5".to_owned(),
        "  max-connection-per-server=2".to_owned(),
        format!("{}\t{}", url("/f"), url("/f?mirror")),
        "  header=X-Key: one two".to_owned(),
        "  header=X-Other: 3".to_owned(),
        "  referer=http://example.org/".to_owned(),
        "  user-agent=me/1".to_owned(),
        format!("{}\r", url("/g%20h.txt")),
        "  out=last.txt".to_owned(),
    ]
    .join("\n");

    let mut tdl = Tdl::new(&["fetch", "-i", "list.txt", "--retries=0"]).file("list.txt", &list);
    tdl.run().assert_code(0);
    let of_tdl = headers_of(&server.requests(), "/f");

    // The directories of an input file are relative to the current one, as are those of tdl without -o.
    let aria2 = tempfile::tempdir().unwrap();
    fs::write(aria2.path().join("list.txt"), &list).unwrap();
    let before = server.requests().len();
    let status = Command::new("aria2c")
        .args(["--no-conf", "--quiet", "--no-netrc", "--allow-overwrite=false", "-i", "list.txt"])
        .current_dir(aria2.path())
        .status()
        .expect("aria2c is installed (aria2)");
    assert!(status.success(), "{status}");

    let files = files_in(aria2.path());
    assert_eq!(
        files.keys().map(String::as_str).collect::<Vec<_>>(),
        ["a.txt", "e", "f", "last.txt", "list.txt", "mirrored.bin", "one/three/d.csv", "one/two/c c.bin"]
    );
    assert_eq!(files_in(tdl.dir.path()), files);
    let expected = ["one two", "3", "http://example.org/", "me/1"].map(|value| Some(value.to_owned()));
    assert_eq!(of_tdl, expected);
    assert_eq!(headers_of(&server.requests()[before..], "/f"), expected);
}

/// The headers of the first request for a file that an input file can set.
fn headers_of(requests: &[Request], target: &str) -> [Option<String>; 4] {
    let request = requests.iter().find(|request| request.target.starts_with(target)).unwrap();
    ["x-key", "x-other", "referer", "user-agent"].map(|name| request.header(name).map(str::to_owned))
}

/// The content of all files below a directory, by their paths.
fn files_in(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}
