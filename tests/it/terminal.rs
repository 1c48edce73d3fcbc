//! Progress bars and colours on a pseudo-terminal.

use std::io::Read as _;
use std::time::Duration;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

use crate::command::content;
use crate::server::{Reply, Server};

/// Runs `tdl fetch` on a terminal of this size; returns what it wrote to the terminal and its exit code.
fn on_terminal(rows: u16, cols: u16, env: &[(&str, &str)], arguments: &[String]) -> (String, u32) {
    let dir = tempfile::tempdir().unwrap();
    let pty = native_pty_system().openpty(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_tdl"));
    command.env_clear();
    command.env("TERM", "xterm-256color");
    for (name, value) in env {
        command.env(name, value);
    }
    command.args(["fetch", "-o", "out"]);
    command.args(arguments);
    command.cwd(dir.path());
    let mut child = pty.slave.spawn_command(command).unwrap();
    drop(pty.slave);
    let mut reader = pty.master.try_clone_reader().unwrap();
    let mut shown = Vec::new();
    let mut buffer = [0; 4096];
    // On Linux, reading fails with EIO once the other side is closed.
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..count]);
    }
    let code = child.wait().unwrap().exit_code();
    (String::from_utf8(shown).unwrap(), code)
}

/// A server whose files take about a second.
fn slow() -> Server {
    Server::start(|request| match request.target.as_str() {
        "/missing" => Reply::status(404),
        _ => Reply::ok(content(1, 1024 * 1024)).drip(64 * 1024, Duration::from_millis(60)),
    })
}

#[test]
fn bars_show_each_running_download_and_the_run() {
    let server = slow();
    let urls = ["/first.bin", "/second.bin", "/missing"].map(|path| server.url(path));
    let (shown, code) = on_terminal(24, 100, &[], &urls);
    assert_eq!(code, 1);
    assert!(shown.contains('\x1b'), "{shown:?}");
    for expected in [
        "1 failed, 2 left",
        "to go",
        "first.bin",
        "second.bin",
        " of 1.0 MiB",
        "━",
        "/missing: failed: the server responded with 404 Not Found\r\n",
        "/first.bin: fetched, 1.0 MiB in ",
        "2 of 3 files, 2.0 MiB in ",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in {shown:?}");
    }
    assert!(!shown.contains(": started"), "the bars show that: {shown:?}");
}

#[test]
fn no_more_bars_are_drawn_than_fit_the_screen() {
    let server = slow();
    let urls: Vec<_> = (10..40).map(|number| server.url(&format!("/file{number}.bin"))).collect();
    let arguments = [&urls[..], &["--per-host=30".to_owned()]].concat();
    let (shown, code) = on_terminal(8, 80, &[], &arguments);
    assert_eq!(code, 0);
    // Each drawing starts with the line of the whole run, and the bars of the downloads follow.
    let drawings: Vec<_> = shown.split(" done, ").skip(1).collect();
    assert!(drawings.len() > 2, "{shown:?}");
    let most = drawings.iter().map(|drawing| drawing.split("fetched, ").next().unwrap().matches(".bin ").count()).max();
    assert_eq!(most, Some(6), "{shown:?}");
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    let server = Server::echo();
    for (env, arguments) in [(&[("TERM", "dumb")][..], &["--progress=auto"][..]), (&[], &["--progress=plain"])] {
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).chain([server.url("/x")]).collect();
        let (shown, code) = on_terminal(24, 80, env, &arguments);
        assert_eq!(code, 0);
        assert!(shown.contains("/x: started\r\n") && !shown.contains('\x1b'), "{shown:?}");
    }
}

#[test]
fn help_is_coloured_on_a_terminal_unless_no_color() {
    // A colour is set by "select graphic rendition", which ends in m; cursor movements end otherwise.
    let is_colour = |rest: &str| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m');
    for (env, has_colours) in [(&[][..], true), (&[("NO_COLOR", "1")], false)] {
        let (shown, code) = on_terminal(24, 80, env, &["--help".to_owned()]);
        assert_eq!(code, 0);
        assert_eq!(shown.split("\x1b[").skip(1).any(is_colour), has_colours, "{shown:?}");
    }
    let server = slow();
    let (shown, _) = on_terminal(24, 80, &[("NO_COLOR", "1")], &[server.url("/x"), server.url("/missing")]);
    assert!(!shown.split("\x1b[").skip(1).any(is_colour), "{shown:?}");
}

#[test]
fn a_warning_before_the_bars_is_visible() {
    let (shown, code) = on_terminal(24, 80, &[], &["http://h/x", "http://h/x", "--dry-run"].map(ToOwned::to_owned));
    assert_eq!(code, 0);
    assert!(shown.contains("warning: 1 duplicate URL skipped"), "{shown:?}");
}
