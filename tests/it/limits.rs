//! Limits of a run: time, size, disk space, threads, requests to a host, and what is synced to disk.

use std::collections::HashMap;
use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::command::{TDL, content, fetch, fetch_in};
use crate::mode::{Mode, in_both_modes};
use crate::server::{Reply, Server, TIMEOUT};

in_both_modes!(a_file_above_max_filesize_is_not_fetched);
fn a_file_above_max_filesize_is_not_fetched(mode: Mode) {
    let server = Server::start(|request| {
        let reply = Reply::ok(content(1, 200_000));
        match request.target.as_str() {
            "/chunked" => reply.chunked(),
            "/close" => reply.until_close(),
            "/small" => Reply::ok("small"),
            _ => reply,
        }
    });
    for (size, fits) in [("199999", false), ("200k", true), ("195KiB", false), ("1M", true)] {
        let urls = ["/announced", "/chunked", "/close", "/small"].map(|path| server.url(path));
        let mut tdl = fetch_in(mode).args(urls).args(["--max-filesize", size]);
        let output = tdl.run().assert_code(if fits { 0 } else { 1 });
        let names: &[&str] = if fits { &["announced", "chunked", "close", "small"] } else { &["small"] };
        assert_eq!(tdl.names(), names, "{size}");
        let message = "failed: the file is longer than the ";
        assert_eq!(output.stderr.matches(message).count(), if fits { 0 } else { 3 }, "{}", output.stderr);
    }
    for wrong in ["", "5x", "-1", "1.5M", "99999999999G"] {
        fetch_in(mode).args([&server.url("/x"), &format!("--max-filesize={wrong}")]).run().assert_code(2);
    }
}

in_both_modes!(downloads_unfinished_at_max_time_fail_temporarily);
fn downloads_unfinished_at_max_time_fail_temporarily(mode: Mode) {
    let server = Server::start(|request| match request.target.as_str() {
        "/quick" => Reply::ok("quick"),
        "/stuck" => Reply::ok(content(1, 200_000)).stall_after(100_000),
        _ => Reply::ok(content(1, 1_000_000)).drip(1000, Duration::from_millis(50)),
    });
    let urls = ["/quick", "/drips", "/stuck", "/never"].map(|path| server.url(path));
    let started = Instant::now();
    let mut tdl = fetch_in(mode).args(urls).args(["--jobs=2", "--max-time=2s"]);
    let output = tdl.run().assert_code(75);
    assert!((Duration::from_secs(2)..TIMEOUT).contains(&started.elapsed()));
    assert!(output.stdout.starts_with("1 of 4 files are there: 1 fetched\n"), "{}", output.stdout);
    assert!(output.stderr.contains("/drips: failed: the time limit for the run has expired"), "{}", output.stderr);
    assert!(output.stdout.contains("3 failed temporarily; the same command may succeed later:\n"), "{}", output.stdout);
    assert_eq!(tdl.final_names(), ["quick"]);
}

in_both_modes!(a_file_too_large_for_the_disk_fails_alone);
fn a_file_too_large_for_the_disk_fails_alone(mode: Mode) {
    let server = Server::start(|request| match request.target.as_str() {
        "/huge" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000\r\n\r\nbegin"),
        target => Reply::ok(target),
    });
    let mut tdl = fetch_in(mode).args(["/a", "/huge", "/b"].map(|path| server.url(path)));
    let output = tdl.run().assert_code(1);
    if cfg!(unix) {
        let message = "/huge: failed: not enough disk space for out/huge.part: 1000000000000000 bytes are needed, ";
        assert!(output.stderr.contains(message), "{}", output.stderr);
    }
    assert_eq!(tdl.names(), ["a", "b"]);
}

#[cfg(target_os = "linux")]
in_both_modes!(an_unwritable_directory_is_named_before_any_request);
#[cfg(target_os = "linux")]
fn an_unwritable_directory_is_named_before_any_request(mode: Mode) {
    let server = Server::echo();
    // Not even root can create a file there.
    let urls = ["/small", "/large"].map(|path| server.url(path));
    let output = fetch_in(mode).args(urls).args(["-o", "/proc/self"]).run().assert_code(2);
    assert!(output.stderr.starts_with("error: cannot write to /proc/self: "), "{}", output.stderr);
    assert_eq!(server.requests().len(), 0);
    let failure = tdl::download_file(&server.url("/small"), "/proc/self").unwrap_err();
    assert!(failure.to_string().starts_with("cannot write to /proc/self"), "{failure}");
    assert_eq!(server.requests().len(), 0);
}

/// A server of files that each begin after a while. The first `times` requests for each path that begins with `/sick`
/// are refused at once.
fn with_sick_urls(times: usize) -> Server {
    let refused = Mutex::new(HashMap::<String, usize>::new());
    Server::start(move |request| {
        if request.target.starts_with("/sick") {
            let mut refused = refused.lock().unwrap();
            let count = refused.entry(request.target.clone()).or_default();
            if *count < times {
                *count += 1;
                // Not before the first ones have all been requested, however busy the machine is.
                return Reply::status(503).after(Duration::from_millis(100));
            }
        }
        Reply::ok(request.target.clone()).after(Duration::from_millis(200))
    })
}

/// The URLs of some sick files, followed by 40 others.
fn sick_and_others(server: &Server, sick: usize) -> impl Iterator<Item = String> {
    let sick = (0..sick).map(|number| server.url(&format!("/sick{number}")));
    sick.chain((0..40).map(|number| server.url(&format!("/{number}"))))
}

/// Asserts that the other files were not slowed down: they were requested before the last request for a sick one, and
/// most of them while many were in flight.
fn assert_others_were_served(server: &Server) {
    let requests = server.requests();
    let is_sick = |target: &str| target.starts_with("/sick");
    let last_sick = requests.iter().rposition(|request| is_sick(&request.target)).unwrap();
    let others = || requests.iter().enumerate().filter(|(_, request)| !is_sick(&request.target));
    assert_eq!(others().count(), 40);
    let last_other = others().map(|(index, _)| index).max().unwrap();
    assert!(last_other < last_sick, "{last_other} {last_sick}");
    let in_flight: Vec<_> = others().map(|(_, request)| request.in_flight).collect();
    // The first ones have fewer beside them, and those that start again after all have ended at once.
    let with_many = in_flight.iter().filter(|count| **count >= 5).count();
    assert!(with_many >= 28, "{in_flight:?}");
}

#[test]
fn urls_that_always_fail_do_not_slow_down_the_others() {
    let server = with_sick_urls(usize::MAX);
    let mut tdl = fetch().args(sick_and_others(&server, 4)).arg("--retries=4");
    let output = tdl.run().assert_code(75);
    assert_eq!(tdl.names().len(), 40);
    assert_others_were_served(&server);
    let refused = server.requests().len() - 40;
    assert_eq!(refused, 4 * 5, "{}", output.stderr);
}

#[test]
fn urls_that_fail_twice_do_not_slow_down_the_others() {
    let server = with_sick_urls(2);
    let mut tdl = fetch().args(sick_and_others(&server, 6));
    tdl.run().assert_code(0);
    assert_eq!(tdl.names().len(), 46);
    assert_others_were_served(&server);
    assert_eq!(server.requests().len(), 40 + 6 * 3);
}

#[test]
fn more_small_files_are_requested_at_once_if_that_is_faster() {
    for (arguments, most) in [(&[][..], 64), (&["--per-host=24"], 24), (&["--per-host=5"], 5)] {
        let server = Server::start(|request| Reply::ok(request.target.clone()).after(Duration::from_millis(50)));
        let mut tdl = fetch().args((0..200).map(|number| server.url(&format!("/{number}")))).args(arguments);
        tdl.run().assert_code(0);
        assert_eq!(tdl.names().len(), 200);
        let at_once = server.most_at_once();
        assert!((most.min(17)..=most).contains(&at_once), "{at_once} {arguments:?}");
    }
}

in_both_modes!(update_replaces_only_changed_files);
fn update_replaces_only_changed_files(mode: Mode) {
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    let time = httpdate::parse_http_date(THEN).unwrap();
    let server = Server::start(|request| {
        let asked = request.header("if-modified-since").map(ToOwned::to_owned);
        let new = |modified| Reply::ok("new").header("Last-Modified", modified);
        match request.target.as_str() {
            // The first path compares the date, as a correct server does; the second ignores it.
            "/same" if asked.as_deref() == Some(THEN) => Reply::raw("HTTP/1.1 304 Not Modified\r\n\r\n"),
            "/careless" => new(THEN),
            // The file was replaced by an older one.
            "/older" => new(EARLIER),
            "/undated" => Reply::ok("new"),
            _ => new(LATER),
        }
    });
    let paths = ["/same", "/careless", "/older", "/changed", "/undated", "/missing"];
    let mut tdl = fetch_in(mode).args(paths.map(|path| server.url(path))).args(["--if-exists", "update", "--json"]);
    for name in ["same", "careless", "older", "changed", "undated"] {
        tdl = tdl.file(&format!("out/{name}"), "old");
        fs::File::options().write(true).open(tdl.out().join(name)).unwrap().set_modified(time).unwrap();
    }
    let output = tdl.run().assert_code(0);
    let contents = [("same", "old"), ("careless", "old"), ("older", "new"), ("changed", "new"), ("undated", "new")];
    for (name, content) in contents.into_iter().chain([("missing", "new")]) {
        assert_eq!(String::from_utf8(tdl.read(name)).unwrap(), content, "{name}");
    }
    assert_eq!(tdl.names(), ["careless", "changed", "missing", "older", "same", "undated"]);
    assert_eq!(output.stderr.matches("is unchanged according to the server").count(), 2, "{}", output.stderr);
    assert!(output.stdout.contains(r#""fetched":4,"skipped":2,"failed":0"#), "{}", output.stdout);
    let modified = fs::metadata(tdl.out().join("changed")).unwrap().modified().unwrap();
    assert_eq!(modified, httpdate::parse_http_date(LATER).unwrap());
}

#[cfg(unix)]
in_both_modes!(ulimit_on_the_file_size_fails_only_longer_files);
#[cfg(unix)]
fn ulimit_on_the_file_size_fails_only_longer_files(mode: Mode) {
    let server = Server::start(|request| match request.target.as_str() {
        "/long" => Reply::ok(content(1, 300_000)),
        target => Reply::ok(target),
    });
    let mut tdl = fetch_in(mode)
        .args(["/a", "/long", "/b"].map(|path| server.url(path)))
        .under("bash")
        .prefix_args(&["-c", "ulimit -f 100 && exec \"$0\" \"$@\""]);
    let output = tdl.run().assert_code(1);
    assert!(output.stderr.contains("/long: failed: cannot write out/long.part: "), "{}", output.stderr);
    assert!(output.stdout.starts_with("2 of 3 files"), "{}", output.stdout);
    assert_eq!(tdl.final_names(), ["a", "b"]);
}

#[cfg(target_os = "linux")]
in_both_modes!(
    #[ignore = "needs root, to be a user of whom there is no process yet"]
    running_out_of_threads_is_a_temporary_failure
);
#[cfg(target_os = "linux")]
fn running_out_of_threads_is_a_temporary_failure(mode: Mode) {
    use std::os::unix::fs::PermissionsExt as _;

    let server = Server::echo();
    // Another user in each mode: the two tests run at the same time, and the limit is per user.
    let user = if mode.is_sequential() { "--reuid=54321" } else { "--reuid=54322" };
    // A copy that the user can reach: the program itself may be in a directory that only its owner can enter.
    let reachable = tempfile::tempdir().unwrap();
    fs::set_permissions(reachable.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = reachable.path().join("tdl");
    fs::copy(TDL, &program).unwrap();
    let mut codes = Vec::new();
    for processes in 1..12 {
        let script = format!("ulimit -u {processes} && exec {} \"$@\"", program.display());
        let mut tdl = fetch_in(mode)
            .args(["/a", "/b"].map(|path| server.url(path)))
            .arg("--retries=0")
            .under("setpriv")
            .prefix_args(&[user, "--clear-groups", "bash", "-c", &script]);
        fs::set_permissions(tdl.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let output = tdl.run();
        let code = output.code.unwrap();
        assert!([0, 75].contains(&code), "{processes}: {output:?}");
        let helps = "Resource temporarily unavailable (os error 11); the same command may succeed later\n";
        assert!(code == 0 || output.stderr.ends_with(helps) || output.stdout.contains("temporarily"), "{output:?}");
        codes.push(code);
    }
    assert_eq!((codes.first(), codes.last()), (Some(&75), Some(&0)), "{codes:?}");
}

#[cfg(target_os = "linux")]
in_both_modes!(
    #[ignore = "needs strace"]
    fsync_syncs_the_bytes_before_the_name
);
#[cfg(target_os = "linux")]
fn fsync_syncs_the_bytes_before_the_name(mode: Mode) {
    for (length, rename) in [(10, "linkat("), (200_000, "renameat2(")] {
        let server = Server::start(move |_| Reply::ok(content(1, length)));
        let mut tdl = fetch_in(mode).args([&server.url("/x"), "--fsync"]).under("strace").prefix_args(&[
            "-f",
            "-y",
            "-o",
            "trace",
            "-e",
            "trace=write,fsync,fdatasync,linkat,renameat2",
        ]);
        tdl.run().assert_code(0);
        let trace = fs::read_to_string(tdl.dir.path().join("trace")).unwrap();
        let place = |what: &str, where_: &str| {
            let found = trace.lines().position(|line| line.contains(what) && line.contains(where_));
            found.unwrap_or_else(|| panic!("no {what} of {where_} in\n{trace}"))
        };
        let named = place(rename, "out/x\"");
        let bytes = trace.lines().position(|line| line.contains("fsync(") && !line.contains("/out>")).unwrap();
        assert!(bytes < named && named < place("fsync(", "/out>"), "{trace}");
        // The new directory must be synced in its parent.
        let above = format!("{}>", tdl.dir.path().canonicalize().unwrap().display());
        assert!(place("fsync(", &above) < named, "{trace}");
    }
}

#[cfg(target_os = "linux")]
in_both_modes!(
    #[ignore = "needs root, to mount a small disk"]
    a_full_disk_fails_the_current_file_and_starts_no_other
);
#[cfg(target_os = "linux")]
fn a_full_disk_fails_the_current_file_and_starts_no_other(mode: Mode) {
    let server = Server::start(|request| match request.target.as_str() {
        "/unannounced" => Reply::ok(content(1, 3_000_000)).chunked(),
        target => Reply::ok(target),
    });
    let mut tdl = fetch_in(mode).args(["/a", "/unannounced", "/b", "/c"].map(|path| server.url(path))).arg("-j1");
    fs::create_dir(tdl.out()).unwrap();
    let mount = |arguments: &[&str]| {
        assert!(
            std::process::Command::new(arguments[0]).args(&arguments[1..]).arg(tdl.out()).status().unwrap().success()
        );
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=1m", "none"]);
    let output = tdl.run();
    let names = tdl.names();
    let unmount = std::process::Command::new("umount").arg(tdl.out()).status().unwrap();
    assert!(unmount.success());
    let output = output.assert_code(1);
    assert_eq!(names, ["a"], "{output:?}");
    assert!(
        output.stderr.contains("/unannounced: failed: cannot write out/unannounced.part: No space left"),
        "{output:?}"
    );
    assert_eq!(server.targets(), ["/a", "/unannounced"]);
    assert!(output.stdout.contains("  not done           2"), "{}", output.stdout);
}
