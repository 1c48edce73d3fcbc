//! Lists that are named by a URL: `-i https://...`.

use std::time::{Duration, Instant};

use crate::command::{Tdl, fetch, names};
use crate::server::{Reply, Request, Server};

/// `tdl fetch -i URL` with a directory of its own for temporary files.
fn fetch_list(url: &str) -> Tdl {
    let tdl = fetch().args(["-i", url]).file("tmp/.keep", "");
    let temporary = tdl.dir.path().join("tmp");
    let temporary = temporary.to_str().unwrap().to_owned();
    tdl.envs([("TMPDIR", &*temporary), ("TEMP", &*temporary), ("TMP", &*temporary)])
}

#[track_caller]
fn assert_nothing_temporary(tdl: &Tdl) {
    assert_eq!(names(&tdl.dir.path().join("tmp")), [".keep"]);
}

/// The URLs of `/0` and so on, at the server that gets the request.
fn list(request: &Request, count: usize) -> Vec<u8> {
    let host = request.header("host").unwrap();
    (0..count).map(|number| format!("http://{host}/{number}\n")).collect::<String>().into()
}

/// A server of small files, and of lists under `/urls.txt`.
fn serve(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |request| match request.target.as_str() {
        target if target.contains("urls.txt") => answer(request),
        target => Reply::ok(target),
    })
}

#[test]
fn a_list_is_fetched_over_redirects() {
    let server = serve(|request| match request.target.as_str() {
        "/urls.txt" => Reply::redirect("/lists/urls.txt?v=2"),
        _ => Reply::ok(list(request, 3)),
    });
    let mut tdl = fetch_list(&server.url("/urls.txt")).args(["--max-filesize=10", &server.url("/argument")]);
    let output = tdl.run().assert_code(0);
    assert_eq!(tdl.names(), ["0", "1", "2", "argument"]);
    assert!(output.stdout.starts_with("4 of 4 files are there: all fetched\n"), "{}", output.stdout);
    assert_nothing_temporary(&tdl);
}

#[test]
fn a_failure_is_reported_by_its_kind_and_nothing_is_started() {
    let missing = serve(|_| Reply::status(404));
    let busy = serve(|_| Reply::status(503));
    for (url, code, reason) in [
        (missing.url("/urls.txt"), 2, "the server responded with 404 Not Found\n"),
        (
            busy.url("/urls.txt"),
            75,
            "the server responded with 503 Service Unavailable; the same command may succeed later\n",
        ),
        ("http://127.0.0.1:1/urls.txt".to_owned(), 75, "could not connect: "),
    ] {
        let mut tdl = fetch_list(&url).arg("--retries=0");
        let output = tdl.run().assert_code(code);
        assert!(output.stderr.starts_with(&format!("error: {url}: cannot fetch the list: {reason}")), "{output:?}");
        assert!(output.stdout.is_empty() && !tdl.out().exists());
        assert_nothing_temporary(&tdl);
    }
}

#[test]
fn a_temporary_failure_is_retried() {
    let server = serve(|request| match request.number {
        0 => Reply::status(503),
        _ => Reply::ok(list(request, 1)),
    });
    let mut tdl = fetch_list(&server.url("/urls.txt"));
    tdl.run().assert_code(0);
    assert_eq!(tdl.names(), ["0"]);
}

#[test]
fn a_list_that_is_cut_is_resumed_and_never_used_in_part() {
    let cut = |request: &Request| {
        let reply = Reply::file(request, &list(request, 20_000), "\"one\"");
        if request.number == 0 { reply.cut_after(100_000) } else { reply }
    };
    let server = serve(cut);
    let mut tdl = fetch_list(&server.url("/urls.txt")).arg("--dry-run");
    let output = tdl.run().assert_code(0);
    assert_eq!(output.stdout.lines().count(), 20_000);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].header("range").is_some_and(|range| range.starts_with("bytes=")), "{requests:?}");
    assert_nothing_temporary(&tdl);

    let server = serve(cut);
    let mut tdl = fetch_list(&server.url("/urls.txt")).args(["--dry-run", "--retries=0"]);
    let output = tdl.run().assert_code(75);
    assert!(output.stdout.is_empty() && output.stderr.contains("the body ended after 100000 of"), "{output:?}");
    assert_nothing_temporary(&tdl);
}

#[test]
fn secrets_in_its_url_are_sent_and_not_shown() {
    for (body, code, message) in [
        (Reply::status(404), 2, ": cannot fetch the list: the server responded with 404 Not Found\n"),
        (Reply::ok("http://127.0.0.1:1/x\nnot a url\n"), 2, ":2: 'not a url' is not an absolute URL\n"),
        (Reply::ok("http://127.0.0.1:1/x\n"), 75, ":1: http://127.0.0.1:1/x: could not connect"),
    ] {
        let server = serve(move |_| body.clone());
        let url = server.url("/urls.txt?token=hush").replace("://", "://user:secret@");
        let mut tdl = fetch_list(&url).arg("--retries=0");
        let output = tdl.run().assert_code(code);
        let shown = output.stdout + &output.stderr;
        assert!(shown.contains(&format!("{}{message}", server.url("/urls.txt?token=***"))), "{shown}");
        assert!(!shown.contains("secret") && !shown.contains("hush"), "{shown}");
        assert_eq!(server.requests()[0].header("authorization"), Some("Basic dXNlcjpzZWNyZXQ="));
        assert_nothing_temporary(&tdl);
    }
}

#[test]
fn headers_go_to_the_lists_origin_and_that_is_said() {
    let files = Server::echo();
    let entry = files.url("/x");
    let server = serve(move |_| Reply::ok(entry.clone()));
    let output = fetch_list(&server.url("/urls.txt")).args(["-H", "Cookie: a=b"]).run().assert_code(0);
    assert_eq!(server.requests()[0].header("cookie"), Some("a=b"));
    let warning = "warning: the header Cookie will be sent to all 2 servers, including that of the list\n";
    assert!(output.stderr.contains(warning), "{}", output.stderr);
}

#[test]
fn a_list_without_urls_is_nothing_to_download() {
    let server = serve(|_| Reply::ok("# nothing\n"));
    let output = fetch_list(&server.url("/urls.txt")).run().assert_code(2);
    assert_eq!(output.stderr, "error: nothing to download: pass URLs, or a list with -i FILE\n");
}

#[test]
fn the_maximum_time_includes_the_list() {
    let server = serve(|request| Reply::ok(list(request, 1)).after(Duration::from_secs(60)));
    let mut tdl = fetch_list(&server.url("/urls.txt")).arg("--max-time=300ms");
    let output = tdl.run().assert_code(75);
    assert!(output.stderr.contains("cannot fetch the list: the time limit for the run has expired"), "{output:?}");
    assert_nothing_temporary(&tdl);

    let server = serve(|request| Reply::ok(list(request, 1)).after(Duration::from_secs(3)));
    let slow = Server::start(|_| Reply::ok("x").after(Duration::from_secs(60)));
    let mut tdl = fetch_list(&server.url("/urls.txt")).args([&slow.url("/slow"), "--max-time=4s"]);
    let started = Instant::now();
    tdl.run().assert_code(75);
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    assert_eq!(tdl.names(), ["0"]);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_at_once_and_leaves_nothing() {
    use crate::command::{Output, wait_for};
    use rustix::process::{Pid, Signal, kill_process};

    let server = serve(|request| Reply::ok(list(request, 20_000)).stall_after(100_000));
    let mut tdl = fetch_list(&server.url("/urls.txt"));
    let child = tdl.spawn();
    let temporary = tdl.dir.path().join("tmp");
    let directory = || names(&temporary).into_iter().find(|name| name.starts_with("tdl-list-"));
    wait_for(|| directory().is_some_and(|name| names(&temporary.join(name)).contains(&"urls.txt.part".to_owned())));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = Output::from(child).assert_code(130);
    assert_eq!((output.stdout.as_str(), tdl.out().exists()), ("", false));
    assert_nothing_temporary(&tdl);
}

#[cfg(unix)]
#[test]
fn a_signal_after_it_ends_the_run_with_its_summary() {
    use crate::command::Output;
    use rustix::process::{Pid, Signal, kill_process};

    let server = Server::start(|request| match request.target.as_str() {
        "/urls.txt" => Reply::ok(list(request, 1)),
        _ => Reply::ok(vec![b'x'; 200_000]).stall_after(100_000),
    });
    let mut tdl = fetch_list(&server.url("/urls.txt"));
    let child = tdl.spawn();
    server.wait_for_requests(2);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = Output::from(child).assert_code(130);
    assert!(output.stdout.ends_with("\ninterrupted; run the same command to go on\n"), "{}", output.stdout);
}
