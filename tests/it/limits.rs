//! What a run may take: time, space, and how it treats a disk.

use std::fs;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use crate::command::is_sequential;
use crate::command::{Tdl, content, fetch_as};
use crate::server::{Reply, Server};

fn fetch() -> Tdl {
    fetch_as(module_path!())
}

#[test]
fn a_file_that_is_too_long_is_not_fetched() {
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
        let mut tdl = fetch().args(urls).args(["--max-filesize", size]);
        let ended = tdl.run().with(if fits { 0 } else { 1 });
        let names: &[&str] = if fits { &["announced", "chunked", "close", "small"] } else { &["small"] };
        assert_eq!(tdl.names(), names, "{size}");
        let message = "failed: the file is longer than the ";
        assert_eq!(ended.stderr.matches(message).count(), if fits { 0 } else { 3 }, "{}", ended.stderr);
    }
    for wrong in ["", "5x", "-1", "1.5M", "99999999999G"] {
        fetch().args([&server.url("/x"), &format!("--max-filesize={wrong}")]).run().with(2);
    }
}

#[test]
fn what_is_unfinished_when_the_time_is_over_fails_for_now() {
    for mode in ["--jobs=2", "--sequential"] {
        let server = Server::start(|request| match request.target.as_str() {
            "/quick" => Reply::ok("quick"),
            "/stuck" => Reply::ok(content(1, 200_000)).stall_after(100_000),
            _ => Reply::ok(content(1, 1_000_000)).drip(1000, Duration::from_millis(50)),
        });
        let urls = ["/quick", "/drips", "/stuck", "/never"].map(|path| server.url(path));
        let begun = Instant::now();
        let mut tdl = fetch().args(urls).args([mode, "--max-time", "2s"]);
        let ended = tdl.run().with(75);
        assert!((Duration::from_secs(2)..Duration::from_secs(10)).contains(&begun.elapsed()));
        assert!(ended.stdout.starts_with("1 of 4 files, 5 B in "), "{}", ended.stdout);
        assert!(ended.stderr.contains("/drips: failed: the time for the run was over"), "{}", ended.stderr);
        assert!(ended.stdout.contains("  failed           3   3 of them temporarily"), "{}", ended.stdout);
        let finals: Vec<_> = tdl.names().into_iter().filter(|name| !name.contains(".part")).collect();
        assert_eq!(finals, ["quick"]);
    }
}

#[test]
fn a_file_that_does_not_fit_on_the_disk_fails_and_its_neighbours_do_not() {
    let server = Server::start(|request| match request.target.as_str() {
        "/huge" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000\r\n\r\nbegin"),
        target => Reply::ok(target),
    });
    let mut tdl = fetch().args(["/a", "/huge", "/b"].map(|path| server.url(path)));
    let ended = tdl.run().with(1);
    if cfg!(unix) {
        let message = "/huge: failed: out/huge.part has no room for it: 1000000000000000 bytes are needed, ";
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
    assert_eq!(tdl.names(), ["a", "b"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_takes_no_files_is_named_and_nothing_is_asked() {
    let server = Server::echo();
    // Nobody may make a file there, not even root.
    let urls = ["/small", "/large"].map(|path| server.url(path));
    let ended = fetch().args(urls).args(["-o", "/proc/self"]).run().with(2);
    assert!(ended.stderr.starts_with("cannot write to /proc/self: "), "{}", ended.stderr);
    assert_eq!(server.requests().len(), 0);
    let failure = tdl::download_file(&server.url("/small"), "/proc/self").unwrap_err();
    assert!(failure.to_string().starts_with("cannot write to /proc/self"), "{failure}");
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn update_replaces_only_what_has_changed() {
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    let time = httpdate::parse_http_date(THEN).unwrap();
    let server = Server::start(|request| {
        let asked = request.header("if-modified-since").map(ToOwned::to_owned);
        let new = |modified| Reply::ok("new").header("Last-Modified", modified);
        match request.target.as_str() {
            // The date is compared, as a good server does; the second does not look at it.
            "/same" if asked.as_deref() == Some(THEN) => Reply::raw("HTTP/1.1 304 Not Modified\r\n\r\n"),
            "/careless" => new(THEN),
            // The file was put back to an older one.
            "/older" => new(EARLIER),
            "/undated" => Reply::ok("new"),
            _ => new(LATER),
        }
    });
    let paths = ["/same", "/careless", "/older", "/changed", "/undated", "/missing"];
    let mut tdl = fetch().args(paths.map(|path| server.url(path))).args(["--if-exists", "update", "--json"]);
    for name in ["same", "careless", "older", "changed", "undated"] {
        tdl = tdl.file(&format!("out/{name}"), "old");
        fs::File::options().write(true).open(tdl.out().join(name)).unwrap().set_modified(time).unwrap();
    }
    let ended = tdl.run().with(0);
    let contents = [("same", "old"), ("careless", "old"), ("older", "new"), ("changed", "new"), ("undated", "new")];
    for (name, content) in contents.into_iter().chain([("missing", "new")]) {
        assert_eq!(String::from_utf8(tdl.got(name)).unwrap(), content, "{name}");
    }
    assert_eq!(tdl.names(), ["careless", "changed", "missing", "older", "same", "undated"]);
    assert_eq!(ended.stderr.matches("is unchanged according to the server").count(), 2, "{}", ended.stderr);
    assert!(ended.stdout.contains(r#""fetched":4,"skipped":2,"failed":0"#), "{}", ended.stdout);
    let modified = fs::metadata(tdl.out().join("changed")).unwrap().modified().unwrap();
    assert_eq!(modified, httpdate::parse_http_date(LATER).unwrap());
}

#[cfg(unix)]
#[test]
fn a_limit_on_the_length_of_files_fails_what_is_longer_and_nothing_else() {
    let server = Server::start(|request| match request.target.as_str() {
        "/long" => Reply::ok(content(1, 300_000)),
        target => Reply::ok(target),
    });
    let mut tdl = fetch()
        .args(["/a", "/long", "/b"].map(|path| server.url(path)))
        .under("bash")
        .prefix_args(&["-c", "ulimit -f 100 && exec \"$0\" \"$@\""]);
    let ended = tdl.run().with(1);
    assert!(ended.stderr.contains("/long: failed: cannot write out/long.part: "), "{}", ended.stderr);
    assert!(ended.stdout.starts_with("2 of 3 files"), "{}", ended.stdout);
    let finals: Vec<_> = tdl.names().into_iter().filter(|name| !name.contains(".part")).collect();
    assert_eq!(finals, ["a", "b"]);
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs root, to be a user of whom there is no process yet"]
fn a_system_without_threads_to_spare_is_no_wrong_command_line() {
    use std::os::unix::fs::PermissionsExt as _;

    let server = Server::echo();
    // The same test in the other mode runs beside this one.
    let user = if is_sequential(module_path!()) { "--reuid=54321" } else { "--reuid=54322" };
    let mut codes = Vec::new();
    for processes in 1..12 {
        let script = format!("ulimit -u {processes} && exec \"$0\" \"$@\"");
        let mut tdl = fetch()
            .args(["/a", "/b"].map(|path| server.url(path)))
            .arg("--retries=0")
            .under("setpriv")
            .prefix_args(&[user, "--clear-groups", "bash", "-c", &script]);
        fs::set_permissions(tdl.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let ended = tdl.run();
        let code = ended.code.unwrap();
        assert!([0, 75].contains(&code), "{processes}: {ended:?}");
        let helps = "Resource temporarily unavailable (os error 11); the same command may succeed later\n";
        assert!(code == 0 || ended.stderr.ends_with(helps) || ended.stdout.contains("temporarily"), "{ended:?}");
        codes.push(code);
    }
    assert_eq!((codes.first(), codes.last()), (Some(&75), Some(&0)), "{codes:?}");
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs strace"]
fn fsync_puts_the_bytes_and_then_the_name_on_the_disk() {
    for (length, rename) in [(10, "linkat("), (200_000, "renameat2(")] {
        let server = Server::start(move |_| Reply::ok(content(1, length)));
        let mut tdl = fetch().args([&server.url("/x"), "--fsync"]).under("strace").prefix_args(&[
            "-f",
            "-y",
            "-o",
            "trace",
            "-e",
            "trace=write,fsync,fdatasync,linkat,renameat2",
        ]);
        tdl.run().with(0);
        let trace = fs::read_to_string(tdl.dir.path().join("trace")).unwrap();
        let place = |what: &str, where_: &str| {
            let found = trace.lines().position(|line| line.contains(what) && line.contains(where_));
            found.unwrap_or_else(|| panic!("no {what} of {where_} in\n{trace}"))
        };
        let named = place(rename, "out/x\"");
        let bytes = trace.lines().position(|line| line.contains("fsync(") && !line.contains("/out>")).unwrap();
        assert!(bytes < named && named < place("fsync(", "/out>"), "{trace}");
        // The directory is new, and must not be lost either.
        let above = format!("{}>", tdl.dir.path().canonicalize().unwrap().display());
        assert!(place("fsync(", &above) < named, "{trace}");
    }
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs root, to mount a small disk"]
fn a_full_disk_fails_what_it_must_and_starts_nothing_new() {
    let server = Server::start(|request| match request.target.as_str() {
        "/unannounced" => Reply::ok(content(1, 3_000_000)).chunked(),
        target => Reply::ok(target),
    });
    let mut tdl = fetch().args(["/a", "/unannounced", "/b", "/c"].map(|path| server.url(path))).arg("-j1");
    fs::create_dir(tdl.out()).unwrap();
    let mount = |arguments: &[&str]| {
        assert!(
            std::process::Command::new(arguments[0]).args(&arguments[1..]).arg(tdl.out()).status().unwrap().success()
        );
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=1m", "none"]);
    let ended = tdl.run();
    let names = tdl.names();
    let unmount = std::process::Command::new("umount").arg(tdl.out()).status().unwrap();
    assert!(unmount.success());
    let ended = ended.with(1);
    assert_eq!(names, ["a"], "{ended:?}");
    assert!(
        ended.stderr.contains("/unannounced: failed: cannot write out/unannounced.part: No space left"),
        "{ended:?}"
    );
    assert_eq!(server.targets(), ["/a", "/unannounced"]);
    assert!(ended.stdout.contains("  not done         2"), "{}", ended.stdout);
}
