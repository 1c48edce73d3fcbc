//! What a terminal shows: progress, colours, and what is left of them.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::command::{TDL, content};
use crate::server::{Gate, Reply, Server, TIMEOUT};

/// `tdl fetch` on a terminal.
struct Terminal {
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    output: Receiver<Vec<u8>>,
    /// Everything that was written.
    written: String,
    screen: vt100::Parser,
    _dir: tempfile::TempDir,
}

const fn size(rows: u16, cols: u16) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}

impl Terminal {
    fn start(rows: u16, cols: u16, env: &[(&str, &str)], arguments: &[String]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pty = native_pty_system().openpty(size(rows, cols)).unwrap();
        let mut command = CommandBuilder::new(TDL);
        command.env_clear();
        for (name, value) in [("TERM", "xterm-256color"), ("LANG", "C.UTF-8")].iter().chain(env) {
            command.env(name, value);
        }
        command.args(["fetch", "-o", "out"]);
        command.args(arguments);
        command.cwd(dir.path());
        let child = pty.slave.spawn_command(command).unwrap();
        drop(pty.slave);
        let mut reader = pty.master.try_clone_reader().unwrap();
        let (tx, output) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // On Linux, reading fails with EIO once the other side is closed.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let _ = tx.send(buffer[..count].to_vec());
            }
        });
        let screen = vt100::Parser::new(rows, cols, 1000);
        Self { master: pty.master, child, output, written: String::new(), screen, _dir: dir }
    }

    fn resize(&mut self, rows: u16, cols: u16) {
        self.master.resize(size(rows, cols)).unwrap();
        self.screen.screen_mut().set_size(rows, cols);
    }

    /// Waits until the screen shows something.
    fn wait_for(&mut self, is_shown: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let shown = self.screen.screen().contents();
            // A line is never drawn half when another begins.
            if is_shown(&shown) {
                return shown;
            }
            assert!(started.elapsed() < TIMEOUT, "{shown}");
            match self.output.recv_timeout(TIMEOUT) {
                Ok(bytes) => self.take(&bytes),
                Err(_) => panic!("it has ended: {}", self.screen.screen().contents()),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.written += &String::from_utf8_lossy(bytes);
        self.screen.process(bytes);
    }

    /// Waits for its end. Returns its exit code and what the screen shows then.
    fn end(mut self) -> (u32, String, String) {
        while let Ok(bytes) = self.output.recv() {
            self.take(&bytes);
        }
        let code = self.child.wait().unwrap().exit_code();
        (code, self.screen.screen().contents(), self.written)
    }
}

/// Runs `tdl fetch` on a terminal of this size; returns what it wrote to the terminal and its exit code.
fn on_terminal(rows: u16, cols: u16, env: &[(&str, &str)], arguments: &[String]) -> (String, u32) {
    let (code, _, written) = Terminal::start(rows, cols, env, arguments).end();
    (written, code)
}

/// Opens gates when it is dropped: a server whose responses wait for one could not stop.
struct Release(Vec<Arc<Gate>>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.iter().for_each(|gate| gate.open());
    }
}

/// A server of one file of each kind that there is. All that run are held until the gate is open.
fn each_kind() -> (Server, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let busy = AtomicUsize::new(0);
    let server = Server::start(move |request| match request.target.as_str() {
        "/quick.bin" => Reply::ok("quick"),
        "/missing.bin" => Reply::status(404),
        "/large-file-with-a-long-name.tar.gz" => Reply::ok(content(1, 1024 * 1024)).held_after(512 * 1024, &held),
        "/unknown-length" => Reply::ok(content(1, 300_000)).chunked().held_after(200_000, &held),
        "/busy.bin" if busy.fetch_add(1, Ordering::SeqCst) < 1 => Reply::status(503).header("Retry-After", "60"),
        "/silent.bin" => Reply::ok("x").held_until(&held),
        _ => Reply::ok("x"),
    });
    (server, gate)
}

const KINDS: [&str; 6] = [
    "/quick.bin",
    "/missing.bin",
    "/large-file-with-a-long-name.tar.gz",
    "/unknown-length",
    "/busy.bin",
    "/silent.bin",
];

#[test]
fn the_screen_says_how_much_is_done_what_runs_and_what_waits() {
    for (cols, is_wide) in [(80, false), (200, true)] {
        let (server, gate) = each_kind();
        let _release = Release(vec![Arc::clone(&gate)]);
        let mut terminal = Terminal::start(24, cols, &[], &KINDS.map(|path| server.url(path)));
        let has_all =
            |shown: &str| shown.contains("503, ") && shown.contains("no response yet") && shown.contains(" 50% ");
        let shown = terminal.wait_for(has_all);
        let line =
            |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{shown}"));
        let status = line("1/6 files");
        assert!(status.contains("1 failed") && status.contains("1 waiting"), "{status}");
        assert!(status.contains(" KiB of at least 1."), "{status}");
        let large = line("  larg");
        assert!(large.contains("━") && large.contains("512.0 KiB/1.0 MiB"), "{large}");
        assert_eq!(large.contains("large-file-with-a-long-name.tar.gz ━"), is_wide, "{large}");
        assert!(line("  unknown-length").contains(" KiB"), "{shown}");
        assert!(line("  silent.bin").contains("no response yet, 0:0"), "{shown}");
        assert!(line("  busy.bin").contains("503, attempt 2 of 6, again in "), "{shown}");
        assert!(line("missing.bin: failed").ends_with(": the server responded with 404 Not Found"), "{shown}");
        assert!(line("busy.bin: retrying in ").contains(": the server responded with 503"), "{shown}");
        assert!(!shown.contains("quick.bin"), "{shown}");
        terminal.child.kill().unwrap();
    }
}

#[test]
fn nothing_is_left_of_the_bars() {
    let server = slow();
    let urls = ["/first.bin", "/second.bin", "/missing"].map(|path| server.url(path));
    let terminal = Terminal::start(24, 100, &[], &urls);
    let (code, shown, _) = terminal.end();
    assert_eq!(code, 1);
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[0], "missing: failed: the server responded with 404 Not Found", "{shown}");
    assert_eq!(lines[1], "2 of 3 files are there: 2 fetched", "{shown}");
    assert!(lines[2].starts_with("2.0 MiB in "), "{shown}");
    assert!(!shown.contains("file ━") && !shown.contains("0/3 files"), "{shown}");
}

#[test]
fn a_resize_leaves_nothing_behind() {
    let (server, gate) = each_kind();
    let _release = Release(vec![Arc::clone(&gate)]);
    let mut terminal = Terminal::start(24, 120, &[], &KINDS.map(|path| server.url(path)));
    terminal.wait_for(|shown| shown.contains("503, ") && shown.contains(" 50% "));
    for (rows, cols) in [(24, 60), (15, 50), (30, 140)] {
        terminal.resize(rows, cols);
        let count = |shown: &str, start: &str| shown.lines().filter(|line| line.starts_with(start)).count();
        let names = ["  larg", "  unknown", "  silent", "  busy"];
        let is_drawn_anew = |shown: &str| {
            let width = shown.lines().find(|line| line.starts_with("1/6 files")).map_or(0, |line| line.chars().count());
            width < usize::from(cols) && (cols < 100 || width > 60) && names.iter().all(|name| count(shown, name) > 0)
        };
        let shown = terminal.wait_for(is_drawn_anew);
        for start in names.iter().chain(&["1/6 files"]) {
            assert_eq!(count(&shown, start), 1, "{start}: {shown}");
        }
    }
    terminal.child.kill().unwrap();
}

#[test]
fn no_more_bars_are_drawn_than_fit_the_screen() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let server = Server::start(move |_| Reply::ok(content(1, 1024 * 1024)).held_after(512 * 1024, &held));
    let _release = Release(vec![Arc::clone(&gate)]);
    let urls: Vec<_> = (10..40).map(|number| server.url(&format!("/file{number}.bin"))).collect();
    let mut terminal = Terminal::start(15, 80, &[], &urls);
    let shown = terminal.wait_for(|shown| shown.contains("… and 27 more") && shown.matches("50%").count() == 3);
    assert_eq!(shown.matches(".bin ").count(), 3, "{shown}");
    gate.open();
    let (code, shown, _) = terminal.end();
    assert_eq!(code, 0);
    assert!(shown.starts_with("30 of 30 files are there: all fetched\n30.0 MiB in "), "{shown}");
}

#[test]
fn bars_are_in_ascii_where_the_locale_has_nothing_else() {
    let server = slow();
    let mut terminal = Terminal::start(24, 80, &[("LC_ALL", "C")], &[server.url("/first.bin")]);
    let shown = terminal.wait_for(|shown| shown.contains("===="));
    assert!(shown.is_ascii() && shown.contains("[====") && shown.contains(" | "), "{shown}");
    assert!(terminal.end().2.is_ascii());
}

#[test]
fn a_name_that_does_not_tell_has_its_url() {
    let server = Server::start(|_| Reply::status(404));
    let urls = ["/download?id=1", "/a/plain", "/b/plain"].map(|path| server.url(path));
    let (code, shown, _) = Terminal::start(24, 120, &[], &urls).end();
    assert_eq!(code, 1);
    for line in [
        format!("download ({}): failed: ", urls[0]),
        format!("plain-2 ({}): failed: ", urls[2]),
        "plain: failed: ".to_owned(),
    ] {
        assert!(shown.contains(&line), "{line} is not in {shown}");
    }
}

#[test]
fn finished_files_scroll_by_only_if_asked() {
    let server = slow();
    for (arguments, is_shown) in [(&[][..], false), (&["-v".to_owned()], true)] {
        let (shown, code) = on_terminal(24, 80, &[], &[&[server.url("/x.bin")], arguments].concat());
        assert_eq!((code, shown.contains("x.bin: fetched, 1.0 MiB in ")), (0, is_shown), "{shown:?}");
        assert!(!shown.contains(": started"), "the bars show that: {shown:?}");
    }
}

#[test]
fn records_on_the_same_terminal_have_no_bars() {
    let server = slow();
    for (arguments, has_bars) in [(&["--json"][..], false), (&["--json", "--progress=bars"], true)] {
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).chain([server.url("/x.bin")]).collect();
        let (shown, code) = on_terminal(24, 80, &[], &arguments);
        assert_eq!((code, shown.contains('\x1b')), (0, has_bars), "{shown:?}");
        assert!(shown.contains("\"event\":\"finished\""), "{shown:?}");
    }
}

/// A server whose files take about a second.
fn slow() -> Server {
    Server::start(|request| match request.target.as_str() {
        "/missing" => Reply::status(404),
        _ => Reply::ok(content(1, 1024 * 1024)).drip(64 * 1024, Duration::from_millis(60)),
    })
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    let server = Server::echo();
    for (env, arguments) in
        [(&[("TERM", "dumb")][..], &["--progress=auto"][..]), (&[("NO_COLOR", "1")], &["--progress=plain"])]
    {
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).chain([server.url("/x")]).collect();
        let (shown, code) = on_terminal(24, 80, env, &arguments);
        assert_eq!(code, 0);
        assert!(shown.contains("/x: started\r\n") && !shown.contains('\x1b'), "{shown:?}");
    }
}

#[test]
fn there_are_colours_on_a_terminal_unless_no_color() {
    // A colour is set by "select graphic rendition", which ends in m; cursor movements end otherwise.
    let is_colour = |rest: &str| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m');
    let server = slow();
    for (env, has_colours) in [(&[][..], true), (&[("NO_COLOR", "1")], false)] {
        for arguments in
            [&["--help".to_owned()][..], &[server.url("/x"), server.url("/missing")], &["nothing".to_owned()]]
        {
            let (shown, _) = on_terminal(24, 80, env, arguments);
            assert_eq!(shown.split("\x1b[").skip(1).any(is_colour), has_colours, "{arguments:?}: {shown:?}");
        }
    }
}

#[test]
fn a_warning_before_the_bars_is_visible() {
    let (shown, code) =
        on_terminal(24, 80, &[("NO_COLOR", "1")], &["http://h/x", "http://h/x", "--dry-run"].map(ToOwned::to_owned));
    assert_eq!(code, 0);
    assert!(shown.contains("warning: 1 duplicate URL skipped"), "{shown:?}");
}
