//! Responses that look right and are not: their bytes never get a final name.

use std::sync::Arc;

use crate::command::{content, fetch_in};
use crate::mode::{Mode, in_both_modes};
use crate::server::{Gate, Reply, Request, Server};

const LENGTH: usize = 200_000;
const CUT: usize = 120_000;
const TAG: &str = "\"one\"";

fn body() -> Vec<u8> {
    content(1, LENGTH)
}

/// A server that cuts its first response and responds to later range requests with `then`.
fn cuts_once(then: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |request| match (request.number, request.header("range")) {
        (0, _) => Reply::file(request, &body(), TAG).cut_after(CUT),
        (_, None) => Reply::file(request, &body(), TAG),
        (_, Some(_)) => then(request),
    })
}

/// Whether each request asked for a range.
fn ranges(server: &Server) -> Vec<bool> {
    server.requests().iter().map(|request| request.header("range").is_some()).collect()
}

in_both_modes!(a_rest_sent_as_a_200_is_not_saved_as_the_whole_file);
fn a_rest_sent_as_a_200_is_not_saved_as_the_whole_file(mode: Mode) {
    let rest = || body()[CUT..].to_vec();
    type Respond = Box<dyn Fn(&Request) -> Reply + Send + Sync>;
    let rests: Vec<(&str, Respond)> = vec![
        (
            "with a Content-Range",
            Box::new(move |_| {
                Reply::ok(rest()).header("Content-Range", format!("bytes {CUT}-{}/{LENGTH}", LENGTH - 1))
            }),
        ),
        ("with an incomplete Content-Range", Box::new(move |_| Reply::ok(rest()).header("Content-Range", "bytes"))),
        ("with a Content-Range that is not ASCII", Box::new(move |_| Reply::ok(rest()).header("Content-Range", "é"))),
        (
            "with a Content-Range of the whole",
            Box::new(move |_| Reply::ok(rest()).header("Content-Range", format!("bytes 0-{}/{LENGTH}", LENGTH - 1))),
        ),
        ("with the known tag", Box::new(move |_| Reply::ok(rest()).header("ETag", TAG))),
        ("as long as the rest", Box::new(move |_| Reply::ok(rest()))),
        ("with the known tag, in chunks", Box::new(move |_| Reply::ok(rest()).header("ETag", TAG).chunked())),
        ("until the connection closes", Box::new(move |_| Reply::ok(rest()).header("ETag", TAG).until_close())),
        ("in chunks, without a tag", Box::new(move |_| Reply::ok(rest()).chunked())),
        ("with another tag", Box::new(move |_| Reply::ok(rest()).header("ETag", "\"two\""))),
        ("shorter than the rest", Box::new(move |_| Reply::ok(&rest()[1..]).header("ETag", TAG))),
    ];
    for (which, respond) in rests {
        let server = cuts_once(respond);
        let mut tdl = fetch_in(mode).arg(server.url("/x"));
        tdl.run().assert_code(0);
        assert!(tdl.read("x") == body(), "{which}");
        assert_eq!((tdl.names(), ranges(&server)), (vec!["x".to_owned()], vec![false, true, false]), "{which}");
    }
}

in_both_modes!(a_rest_sent_as_a_200_is_not_the_whole_file_when_no_length_is_known);
fn a_rest_sent_as_a_200_is_not_the_whole_file_when_no_length_is_known(mode: Mode) {
    for cut in [50_000, 149_993] {
        let server = Server::start(move |request| match (request.number, request.header("range")) {
            (0, _) => Reply::file(request, &body(), TAG).chunked().cut_after(cut),
            (_, None) => Reply::file(request, &body(), TAG).chunked(),
            (_, Some(_)) => {
                let (from, _) = request.range(LENGTH).unwrap();
                Reply::ok(&body()[from..]).header("ETag", TAG)
            }
        });
        let mut tdl = fetch_in(mode).arg(server.url("/x"));
        tdl.run().assert_code(0);
        assert!(tdl.read("x") == body(), "{cut}");
    }
}

in_both_modes!(a_200_with_only_the_bytes_of_a_gap_is_not_the_whole_file);
fn a_200_with_only_the_bytes_of_a_gap_is_not_the_whole_file(mode: Mode) {
    let server = cuts_once(|request| {
        let (from, to) = request.range(LENGTH).unwrap();
        Reply::ok(&body()[from..to])
    });
    let mut tdl = fetch_in(mode).args([&server.url("/x"), "--retries", "0"]);
    tdl.run().assert_code(75);
    // As after a run that had split the file.
    let sidecar = tdl.out().join("x.part.json");
    let text = std::fs::read_to_string(&sidecar).unwrap();
    std::fs::write(&sidecar, text.replace(&format!("[[0,{CUT}]]"), "[[0,50000],[60000,120000]]")).unwrap();
    tdl.rerun(&[&server.url("/x")]).assert_code(0);
    assert_eq!(server.requests()[1].header("range"), Some("bytes=50000-59999"));
    assert_eq!((tdl.names(), tdl.read("x") == body()), (vec!["x".to_owned()], true));
}

in_both_modes!(queries_that_differ_only_by_a_signature_are_one_file);
fn queries_that_differ_only_by_a_signature_are_one_file(mode: Mode) {
    // Both files have the same tag, which different URLs may have.
    let signed = |number| format!("AWSAccessKeyId=k&Expires={number}&Signature={number}");
    for (query, is_same) in [
        (Box::new(|number| format!("v={number}")) as Box<dyn Fn(usize) -> String + Send + Sync>, false),
        (Box::new(signed), true),
    ] {
        let server = Server::start(move |request| match request.target.as_str() {
            "/x" => Reply::redirect(format!("/file?{}", query(request.number))),
            target if target.ends_with("=0") => match request.header("range") {
                Some(_) => Reply::status(403),
                None => Reply::file(request, &body(), TAG).cut_after(CUT),
            },
            _ => Reply::file(request, &content(if is_same { 1 } else { 2 }, LENGTH), TAG),
        });
        let mut tdl = fetch_in(mode).arg(server.url("/x"));
        tdl.run().assert_code(0);
        assert!(tdl.read("x") == content(if is_same { 1 } else { 2 }, LENGTH));
        let is_whole = |request: &&Request| request.target.starts_with("/file") && request.header("range").is_none();
        assert_eq!(server.requests().iter().filter(is_whole).count(), if is_same { 1 } else { 2 });
    }
}

in_both_modes!(a_416_without_a_validator_does_not_complete_a_file_of_unknown_length);
fn a_416_without_a_validator_does_not_complete_a_file_of_unknown_length(mode: Mode) {
    let new = content(2, CUT);
    let served = new.clone();
    let server = Server::start(move |request| match (request.number, request.header("range")) {
        (0, _) => Reply::file(request, &body(), TAG).chunked().cut_after(CUT),
        (_, Some(_)) => Reply::status(416).header("Content-Range", format!("bytes */{CUT}")),
        _ => Reply::ok(served.clone()),
    });
    let mut tdl = fetch_in(mode).arg(server.url("/x"));
    tdl.run().assert_code(0);
    assert!(tdl.read("x") == new);
}

in_both_modes!(a_content_range_of_the_whole_file_on_a_200_is_accepted);
fn a_content_range_of_the_whole_file_on_a_200_is_accepted(mode: Mode) {
    let range = format!("bytes 0-{}/{LENGTH}", LENGTH - 1);
    let server = Server::start(move |_| Reply::ok(body()).header("Content-Range", range.clone()));
    let mut tdl = fetch_in(mode).arg(server.url("/x"));
    tdl.run().assert_code(0);
    assert!(tdl.read("x") == body());
}

in_both_modes!(a_206_without_a_validator_may_be_of_another_version);
fn a_206_without_a_validator_may_be_of_another_version(mode: Mode) {
    for across_runs in [false, true] {
        let new = content(2, LENGTH);
        let served = new.clone();
        // The file has changed, and the server ignores If-Range and sends no tag.
        let server = Server::start(move |request| match (request.number, request.header("range")) {
            (0, _) => Reply::file(request, &body(), TAG).cut_after(CUT),
            (_, Some(_)) => Reply::rest(&served, CUT),
            _ => Reply::ok(served.clone()),
        });
        let mut tdl = fetch_in(mode).arg(server.url("/x"));
        if across_runs {
            tdl = tdl.args(["--retries", "0"]);
            tdl.run().assert_code(75);
            tdl.rerun(&[&server.url("/x")]).assert_code(0);
        } else {
            tdl.run().assert_code(0);
        }
        assert!(tdl.read("x") == new);
        assert_eq!(ranges(&server), [false, true, false]);
    }
}

in_both_modes!(a_transfer_coding_other_than_chunked_is_refused);
fn a_transfer_coding_other_than_chunked_is_refused(mode: Mode) {
    let chunks = "4\r\nbody\r\n0\r\n\r\n";
    for headers in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 14\r\n",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: \u{e9}\r\nContent-Length: 100\r\n",
    ] {
        let server = Server::start(move |_| Reply::raw(format!("HTTP/1.1 200 OK\r\n{headers}\r\n{chunks}")));
        let mut tdl = fetch_in(mode).arg(server.url("/x"));
        let output = tdl.run().assert_code(1);
        assert!(output.stderr.contains("the response is not valid HTTP: a "), "{headers}: {}", output.stderr);
        assert!(tdl.names().is_empty(), "{headers}");
    }
    let server =
        Server::start(move |_| Reply::raw(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked \r\n\r\n{chunks}")));
    let mut tdl = fetch_in(mode).arg(server.url("/x"));
    tdl.run().assert_code(0);
    assert_eq!(tdl.read("x"), b"body");
}

in_both_modes!(stray_bytes_on_a_kept_connection_are_not_the_next_response);
fn stray_bytes_on_a_kept_connection_are_not_the_next_response(mode: Mode) {
    let next = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
    for stray in [next, "what?", "\r\n\r\n"] {
        let (due, sent) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
        let (opens, opened) = (Arc::clone(&due), Arc::clone(&sent));
        let server = Server::start(move |request| match request.target.as_str() {
            "/first" => Reply::ok("first").followed_by(stray, &due, &sent),
            target => Reply::ok(target),
        });
        // Its response keeps tdl busy until the stray bytes have been sent.
        let other = Server::start(move |_| {
            opens.open();
            Reply::ok("other").held_until(&opened)
        });
        let urls = [server.url("/first"), other.url("/other"), server.url("/next")];
        let mut tdl = fetch_in(mode).args(urls).arg("-j1");
        tdl.run().assert_code(0);
        assert_eq!((tdl.read("first"), tdl.read("next")), (b"first".to_vec(), b"/next".to_vec()), "{stray:?}");
    }
}

in_both_modes!(a_response_that_is_not_http_on_a_reused_connection_is_requested_again);
fn a_response_that_is_not_http_on_a_reused_connection_is_requested_again(mode: Mode) {
    let server = Server::start(|request| match request.on_connection {
        0 => Reply::ok(request.target.clone()),
        _ => Reply::raw("what?"),
    });
    let mut tdl = fetch_in(mode).args(["/a", "/b"].map(|path| server.url(path))).arg("-j1");
    tdl.run().assert_code(0);
    assert_eq!((tdl.read("a"), tdl.read("b")), (b"/a".to_vec(), b"/b".to_vec()));
    assert_eq!((server.requests().len(), server.connections()), (3, 2));

    let server = Server::start(|_| Reply::raw("what?"));
    fetch_in(mode).arg(server.url("/x")).run().assert_code(1);
    assert_eq!(server.requests().len(), 1, "a new connection is not to blame, so there is no retry");
}

in_both_modes!(an_encoded_body_is_saved_as_served_and_reported);
fn an_encoded_body_is_saved_as_served_and_reported(mode: Mode) {
    let server = Server::start(|request| match request.target.as_str() {
        "/plain" => Reply::ok("plain").header("Content-Encoding", "identity, Identity"),
        "/large" => Reply::ok(body()).header("Content-Encoding", "br"),
        _ => Reply::ok("zipped").header("Content-Encoding", "gzip"),
    });
    let urls = ["/plain", "/x", "/large"].map(|path| server.url(path));
    let mut tdl = fetch_in(mode).args(&urls);
    let output = tdl.run().assert_code(0);
    assert_eq!((tdl.read("x"), tdl.read("large") == body()), (b"zipped".to_vec(), true));
    assert!(output.stdout.contains("  encoded            2   "), "{}", output.stdout);
    assert!(output.stderr.contains("with Content-Encoding gzip\n"), "{}", output.stderr);

    let output = fetch_in(mode).args(&urls).arg("--json").run().assert_code(0);
    let finished: Vec<_> = output.stdout.lines().filter(|line| line.contains("\"event\":\"finished\"")).collect();
    let of = |name: &str| finished.iter().find(|line| line.contains(&format!("\"out\":\"{name}\""))).unwrap();
    assert!(!of("plain").contains("content_encoding"));
    assert!(of("x").contains("\"content_encoding\":\"gzip\"") && of("large").contains("\"content_encoding\":\"br\""));
    assert!(output.stdout.lines().last().unwrap().contains("\"encoded\":2"));
}
