//! The library's front door, without the command.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use tdl::error::Redirect;
use tdl::options::{IfExists, Mode};
use tdl::run::{Outcome, Reporter};
use tdl::{Control, Error, Event, Options, Plan, WebUrl, download_file, run};

use crate::command::{content, names};
use crate::server::{Gate, Reply, Server};

fn plan(server: &Server, count: usize) -> Plan {
    let urls = (0..count).map(|number| WebUrl::parse(&server.url(&format!("/{number}"))).unwrap());
    Plan::new(urls.collect(), |_| false)
}

fn options(dir: &tempfile::TempDir) -> Options {
    let mut options = Options::default();
    options.output.directory = dir.path().join("out");
    options.retry.retries = 0;
    options
}

/// A reporter made of a function.
struct Hears<F>(F);

impl<F: Fn(&Event<'_>) + Sync> Reporter for Hears<F> {
    fn event(&self, event: &Event<'_>) {
        (self.0)(event);
    }
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
    assert_eq!((file.name.as_str(), file.bytes, file.status), ("x", 100_000, 200));
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
        (options.limits.jobs, options.limits.mode) = (jobs, mode);
        options.output.if_exists = IfExists::Overwrite;
        let threads = Mutex::new(HashSet::<ThreadId>::new());
        let reporter = Hears(|event: &Event<'_>| {
            if let Event::Started(..) | Event::Finished(..) = event {
                threads.lock().unwrap().insert(thread::current().id());
            }
        });
        let summary = run(&plan(&server, 2000), &options, &reporter, &Control::default()).unwrap();
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
    let reporter = Hears(|event: &Event<'_>| {
        if let Event::Started(..) = event {
            threads.lock().unwrap().insert(thread::current().id());
        }
    });
    let summary = run(&plan(&server, 12), &options(&dir), &reporter, &Control::default()).unwrap();
    assert_eq!((summary.threads, threads.into_inner().unwrap().len(), server.most_at_once()), (12, 12, 12));
}

#[test]
fn a_panic_in_one_download_is_its_failure_alone() {
    for mode in [Mode::Concurrent, Mode::Sequential] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::echo();
        let mut options = options(&dir);
        options.limits.mode = mode;
        let failures = Mutex::new(Vec::new());
        let reporter = Hears(|event: &Event<'_>| match event {
            Event::Started(download, _) if download.id == 3 => panic!("the third is unlucky"),
            Event::Finished(download, finished) => {
                if let Outcome::Failed(failure) = &finished.outcome {
                    failures.lock().unwrap().push((download.id, failure.chain()));
                }
            }
            _ => {}
        });
        let summary = run(&plan(&server, 6), &options, &reporter, &Control::default()).unwrap();
        assert_eq!((summary.fetched, summary.failed_permanently), (5, 1));
        assert_eq!(failures.into_inner().unwrap(), [(3, "internal error: the third is unlucky".to_owned())]);
        assert_eq!(names(&dir.path().join("out")), ["0", "1", "2", "4", "5"]);
    }
}

#[test]
fn a_reporter_that_panics_at_an_end_stops_nothing() {
    for (mode, jobs) in [(Mode::Concurrent, 3), (Mode::Concurrent, 1), (Mode::Sequential, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::echo();
        let mut options = options(&dir);
        (options.limits.mode, options.limits.jobs) = (mode, jobs);
        let reporter = Hears(|event: &Event<'_>| {
            if let Event::Finished(..) = event {
                panic!("no news is good news");
            }
        });
        let summary = run(&plan(&server, 6), &options, &reporter, &Control::default()).unwrap();
        assert_eq!((summary.fetched, summary.failed()), (6, 0));
    }
}

#[test]
fn a_cancelled_run_ends_and_leaves_no_half_file() {
    for mode in [Mode::Concurrent, Mode::Sequential] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(|_| Reply::ok(content(1, 400_000)).drip(4000, Duration::from_millis(10)));
        let mut options = options(&dir);
        (options.limits.mode, options.limits.jobs) = (mode, 3);
        let control = Control::default();
        let summary = thread::scope(|scope| {
            let running = scope.spawn(|| run(&plan(&server, 9), &options, &(), &control).unwrap());
            server.wait_for_requests(1);
            control.cancel();
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
    let control = Control::default();
    // Cancelled when the waits have grown to a minute's jitter, at the tenth retry of all.
    let retries = Mutex::new(0);
    let reporter = Hears(|event: &Event<'_>| {
        if let Event::Retrying { .. } = event {
            *retries.lock().unwrap() += 1;
            if *retries.lock().unwrap() == 10 {
                control.cancel();
            }
        }
    });
    let summary = run(&plan(&server, 5), &options, &reporter, &control).unwrap();
    assert_eq!((summary.fetched, summary.failed(), summary.cancelled()), (0, 0, 5));
}

#[test]
fn progress_can_be_read_while_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Reply::ok(content(1, 50_000)));
    let seen = Mutex::new(None);
    let reporter = Hears(|event: &Event<'_>| {
        if let Event::Started(_, progress) = event {
            *seen.lock().unwrap() = Some(Arc::clone(progress));
        }
    });
    run(&plan(&server, 1), &options(&dir), &reporter, &Control::default()).unwrap();
    let progress = seen.into_inner().unwrap().unwrap();
    assert_eq!((progress.received(), progress.length()), (50_000, Some(50_000)));
}
