//! The library's front door, without the command.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use tdl::options::{Header, IfExists, Mode};
use tdl::{
    CancelToken, Entry, Error, Event, Fetched, Options, Outcome, Plan, Progress, Redirect, RunStats, Summary, WebUrl,
    download_file, run,
};

use crate::command::{content, names, wait_for};
use crate::server::{Gate, Reply, Server};

fn plan(server: &Server, count: usize) -> Plan {
    let urls = (0..count).map(|number| WebUrl::parse(&server.url(&format!("/{number}"))).unwrap());
    Plan::new(urls, |_| false)
}

fn options(dir: &tempfile::TempDir) -> Options {
    let mut options = Options::default();
    options.output.directory = dir.path().join("out");
    options.retry.retries = 0;
    options
}

#[test]
fn one_file_is_one_call() {
    let dir = tempfile::tempdir().unwrap();
    let body = content(1, 100_000);
    let served = body.clone();
    let server = Server::start(move |request| match request.target.as_str() {
        "/x" => Reply::ok(served.clone()),
        "/loop" => Reply::redirect("/loop"),
        _ => Reply::status(404),
    });
    let file = download_file(&server.url("/x"), dir.path()).unwrap();
    assert_eq!((file.target.as_str(), file.bytes, file.status), ("x", 100_000, 200));
    assert_eq!(std::fs::read(dir.path().join("x")).unwrap(), body);

    let again = download_file(&server.url("/x"), dir.path());
    assert!(matches!(again, Err(Error::Exists(_))), "{again:?}");
    let missing = download_file(&server.url("/y"), dir.path());
    assert!(matches!(missing, Err(Error::Status { code: 404, .. })), "{missing:?}");
    assert!(matches!(download_file("not a url", dir.path()), Err(Error::Url(_))));
    match download_file(&server.url("/loop"), dir.path()) {
        Err(Error::Redirect(redirect)) => {
            assert!(matches!(*redirect, Redirect::TooMany(_)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(names(dir.path()), ["x"]);
}

#[test]
fn a_long_list_runs_in_no_more_threads_than_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::echo();
    for (jobs, mode) in [(7, Mode::Concurrent), (7, Mode::Sequential)] {
        let mut options = options(&dir);
        (options.limits.jobs, options.limits.mode) = (NonZeroUsize::new(jobs).unwrap(), mode);
        options.output.if_exists = IfExists::Overwrite;
        let threads = Mutex::new(HashSet::<ThreadId>::new());
        let reporter = |event: &Event<'_>| {
            if let Event::Started(..) | Event::Finished(..) = event {
                threads.lock().unwrap().insert(thread::current().id());
            }
        };
        let summary = run(&plan(&server, 2000), &options, &reporter, &CancelToken::new()).unwrap();
        assert_eq!((summary.fetched, summary.failed()), (2000, 0));
        let threads = threads.into_inner().unwrap();
        match mode {
            Mode::Concurrent => {
                assert!((1..=jobs).contains(&threads.len()), "{}", threads.len());
                assert!(server.most_at_once() <= jobs);
                assert!(!threads.contains(&thread::current().id()));
            }
            Mode::Sequential => assert_eq!(threads, HashSet::from([thread::current().id()]), "the caller's thread"),
        }
        assert!(server.connections() <= 2 * jobs, "connections are kept: {}", server.connections());
    }
}

#[test]
fn a_short_list_has_a_thread_for_each_url() {
    let dir = tempfile::tempdir().unwrap();
    // No answer comes before all are asked for.
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let server = Server::start(move |request| {
        if request.number == 11 {
            held.open();
        }
        Reply::ok("x").held_until(&held)
    });
    let threads = Mutex::new(HashSet::<ThreadId>::new());
    let reporter = |event: &Event<'_>| {
        if let Event::Started(..) = event {
            threads.lock().unwrap().insert(thread::current().id());
        }
    };
    let summary = run(&plan(&server, 12), &options(&dir), &reporter, &CancelToken::new()).unwrap();
    assert_eq!((summary.threads, threads.into_inner().unwrap().len(), server.most_at_once()), (12, 12, 12));
}

#[test]
fn a_reporter_that_panics_stops_nothing() {
    for (mode, jobs) in [(Mode::Concurrent, 3), (Mode::Concurrent, 1), (Mode::Sequential, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::echo();
        let mut options = options(&dir);
        (options.limits.mode, options.limits.jobs) = (mode, NonZeroUsize::new(jobs).unwrap());
        let reporter = |_: &Event<'_>| panic!("no news is good news");
        let summary = run(&plan(&server, 6), &options, &reporter, &CancelToken::new()).unwrap();
        assert_eq!((summary.fetched, summary.failed()), (6, 0));
    }
}

#[test]
fn a_cancelled_run_ends_and_leaves_no_half_file() {
    for mode in [Mode::Concurrent, Mode::Sequential] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(|_| Reply::ok(content(1, 400_000)).drip(4000, Duration::from_millis(10)));
        let mut options = options(&dir);
        (options.limits.mode, options.limits.jobs) = (mode, NonZeroUsize::new(3).unwrap());
        let cancel = CancelToken::new();
        let summary = thread::scope(|scope| {
            let running = scope.spawn(|| run(&plan(&server, 9), &options, &(), &cancel).unwrap());
            server.wait_for_requests(1);
            cancel.cancel();
            running.join().unwrap()
        });
        assert_eq!((summary.fetched, summary.failed(), summary.cancelled()), (0, 0, 9));
        assert!(names(&dir.path().join("out")).is_empty());
        assert!(server.requests().len() <= 3);
    }
}

#[test]
fn a_cancelled_run_does_not_sit_out_its_waits() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Reply::status(503));
    let mut options = options(&dir);
    options.retry.retries = 1000;
    let cancel = CancelToken::new();
    // Cancelled when the waits have grown to a minute's jitter, at the tenth retry of all.
    let retries = Mutex::new(0);
    let reporter = |event: &Event<'_>| {
        if let Event::Retrying { .. } = event {
            *retries.lock().unwrap() += 1;
            if *retries.lock().unwrap() == 10 {
                cancel.cancel();
            }
        }
    };
    let summary = run(&plan(&server, 5), &options, &reporter, &cancel).unwrap();
    assert_eq!((summary.fetched, summary.failed(), summary.cancelled()), (0, 0, 5));
}

#[test]
fn progress_can_be_read_while_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Reply::ok(content(1, 50_000)));
    let seen = Mutex::new(None);
    let reporter = |event: &Event<'_>| {
        if let Event::Started(_, progress) = event {
            *seen.lock().unwrap() = Some(Arc::clone(progress));
        }
    };
    run(&plan(&server, 1), &options(&dir), &reporter, &CancelToken::new()).unwrap();
    let progress = seen.into_inner().unwrap().unwrap();
    assert_eq!((progress.received(), progress.length()), (50_000, Some(50_000)));
}

#[test]
fn stopping_runs_does_not_cost_the_longer_part_file() {
    let dir = tempfile::tempdir().unwrap();
    let body = content(1, 1_000_000);
    let server = Server::start(move |request| {
        let reply = Reply::ok(body.clone()).header("ETag", "\"a\"");
        // It ignores ranges, and stalls before it has sent as much as the first time.
        if request.number == 0 { reply.cut_after(600_000) } else { reply.stall_after(300_000) }
    });
    let mut options = options(&dir);
    options.network.stall_timeout = Duration::from_secs(3600);
    let out = dir.path().join("out");
    let (part, replacement) = (out.join("0.part"), out.join("0.part.new"));
    run(&plan(&server, 1), &options, &(), &CancelToken::new()).unwrap();
    let received = part.metadata().unwrap().len();
    for _ in 0..4 {
        let cancel = CancelToken::new();
        let summary = thread::scope(|scope| {
            let running = scope.spawn(|| run(&plan(&server, 1), &options, &(), &cancel).unwrap());
            wait_for(|| replacement.exists());
            cancel.cancel();
            running.join().unwrap()
        });
        assert_eq!(summary.cancelled(), 1);
        assert_eq!((part.metadata().unwrap().len(), replacement.exists()), (received, false));
    }
}

#[test]
fn the_counters_of_a_run_can_be_read_while_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::echo();
    let stats: Mutex<Option<Arc<RunStats>>> = Mutex::new(None);
    let finished = Mutex::new(Vec::new());
    let reporter = |event: &Event<'_>| match event {
        Event::Planned { stats: of_run, .. } => *stats.lock().unwrap() = Some(Arc::clone(of_run)),
        Event::Finished(..) => {
            let summary = stats.lock().unwrap().as_ref().unwrap().snapshot();
            finished.lock().unwrap().push((summary.total, summary.fetched, summary.mode));
        }
        _ => {}
    };
    let mut options = options(&dir);
    options.limits.mode = Mode::Sequential;
    run(&plan(&server, 3), &options, &reporter, &CancelToken::new()).unwrap();
    let expected = [1, 2, 3].map(|fetched| (3, fetched, Mode::Sequential));
    assert_eq!(finished.into_inner().unwrap(), expected);
}

#[test]
fn the_next_source_is_used_when_one_has_failed() {
    for mode in [Mode::Concurrent, Mode::Sequential] {
        let dir = tempfile::tempdir().unwrap();
        let missing = Server::start(|_| Reply::status(404));
        let mirror = Server::start(|request| match request.header("x-key") {
            Some("for the mirror") => Reply::ok("x"),
            _ => Reply::status(403),
        });
        let url = |server: &Server| WebUrl::parse(&server.url("/x")).unwrap();
        let header = Header::parse("X-Key: for the mirror").unwrap();
        let entry = Entry::from(url(&missing)).with_mirror(url(&mirror)).with_header(header).with_length(1);
        let mut options = options(&dir);
        options.limits.mode = mode;
        let summary = run(&Plan::new([entry], |_| false), &options, &(), &CancelToken::new()).unwrap();
        assert_eq!((summary.fetched, summary.failed()), (1, 0));
        assert_eq!(std::fs::read(dir.path().join("out/x")).unwrap(), b"x");
        assert_eq!(missing.requests()[0].header("x-key"), None, "a source's headers are for that source alone");
    }
}

#[test]
fn a_file_of_another_length_than_expected_fails() {
    for announced in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(move |_| if announced { Reply::ok("four") } else { Reply::ok("four").chunked() });
        let entry = Entry::from(WebUrl::parse(&server.url("/x")).unwrap()).with_length(5);
        let failures = Mutex::new(Vec::new());
        let reporter = |event: &Event<'_>| {
            if let Event::Finished(_, finished) = event
                && let Outcome::Failed(failure) = &finished.outcome
            {
                failures.lock().unwrap().push(failure.to_string());
            }
        };
        let summary = run(&Plan::new([entry], |_| false), &options(&dir), &reporter, &CancelToken::new()).unwrap();
        assert_eq!((summary.fetched, summary.failed_permanently), (0, 1));
        assert_eq!(failures.into_inner().unwrap(), ["the file has 4 bytes, but 5 were expected"]);
        assert!(names(&dir.path().join("out")).is_empty(), "{:?}", names(&dir.path().join("out")));
    }
}

#[test]
fn a_run_stops_though_the_server_is_silent() {
    for mode in [Mode::Concurrent, Mode::Sequential] {
        for is_body in [false, true] {
            let gate = Arc::new(Gate::default());
            let held = Arc::clone(&gate);
            let server = Server::start(move |_| {
                let reply = Reply::ok("never all of it");
                if is_body { reply.stall_after(5) } else { reply.held_until(&held) }
            });
            let dir = tempfile::tempdir().unwrap();
            let mut options = options(&dir);
            options.limits.mode = mode;
            // Longer than the test may take: only a stop ends the wait for the server.
            options.network.stall_timeout = Duration::from_secs(3600);

            let cancel = CancelToken::new();
            let summary = thread::scope(|scope| {
                let running = scope.spawn(|| run(&plan(&server, 1), &options, &(), &cancel).unwrap());
                server.wait_for_requests(1);
                cancel.cancel();
                running.join().unwrap()
            });
            assert_eq!((summary.failed(), summary.cancelled()), (0, 1));

            options.limits.max_time = Some(Duration::from_millis(300));
            let summary = run(&plan(&server, 1), &options, &(), &CancelToken::new()).unwrap();
            assert_eq!((summary.failed_temporarily, summary.cancelled()), (1, 0));
            assert_eq!(summary.failures[0].reason, "the time limit for the run has expired");
            gate.open();
        }
    }
}

#[test]
fn public_types_can_be_sent_to_and_shared_by_threads() {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<CancelToken>();
    is_shared::<Error>();
    is_shared::<Event<'_>>();
    is_shared::<Fetched>();
    is_shared::<Options>();
    is_shared::<Outcome>();
    is_shared::<Plan>();
    is_shared::<Progress>();
    is_shared::<RunStats>();
    is_shared::<Summary>();
    is_shared::<WebUrl>();
}
