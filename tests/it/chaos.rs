//! All faults at once: every second response of the server is faulty, and `tdl` is killed again and again. At no
//! instant may a final name have anything but a whole file; in the end every file is there and nothing else.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::command::{Output, content, fetch, names, wait_for};
use crate::server::{Reply, Request, Server};

/// The files to fetch, and how often the run is killed.
#[derive(Clone, Copy)]
struct Storm {
    files: usize,
    lengths: &'static [usize],
    /// The size of the pieces that the server sends, and the pause before each.
    drip: (usize, Duration),
    kills: usize,
    /// The number of requests between two kills.
    between: usize,
}

/// Many files, most of them short.
const MANY: Storm = Storm {
    files: 300,
    lengths: &[0, 1000, 65_536, 65_537, 150_000, 400_000],
    drip: (100_000, Duration::from_millis(1)),
    kills: 20,
    between: 12,
};

/// A few files, slow enough to be split.
const LONG: Storm = Storm {
    files: 5,
    lengths: &[3_000_000, 6_000_000, 9_000_000],
    drip: (50_000, Duration::from_millis(20)),
    kills: 8,
    between: 8,
};

/// The seed of the faults; `TDL_CHAOS_SEED=8 cargo test chaos` chooses another.
fn seed() -> u64 {
    std::env::var("TDL_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7)
}

impl Storm {
    fn file(&self, number: usize) -> Vec<u8> {
        content(number, self.lengths[number % self.lengths.len()])
    }
}

/// A correct response or one of seven faults, by the number of the request.
fn reply(request: &Request, storm: Storm, seed: u64) -> Reply {
    let body = storm.file(request.target[1..].parse().unwrap());
    let good = Reply::file(request, &body, "\"one\"").drip(storm.drip.0, storm.drip.1);
    let mut random = fastrand::Rng::with_seed(seed ^ (request.number as u64) << 8);
    if random.bool() {
        return good;
    }
    let somewhere = random.usize(0..=body.len());
    match random.u8(0..7) {
        0 => Reply::status(503).header("Retry-After", "0"),
        1 => Reply::status(500),
        2 => good.cut_after(somewhere),
        3 => good.chunked().cut_after(somewhere),
        4 => Reply::raw(""),
        5 => good.stall_after(somewhere),
        // A rest that starts at the wrong offset, or one of another file.
        _ if request.header("range").is_some() && random.bool() => Reply::rest(&[&body[..], b"x"].concat(), 0),
        _ if request.header("range").is_some() => Reply::rest(&body, 0).header("ETag", "\"two\""),
        _ => good.cut_after(0),
    }
}

/// Asserts that every file with a final name is whole.
fn assert_all_whole(dir: &Path, storm: Storm) {
    for name in names(dir).iter().filter(|name| !name.contains(".part")) {
        // Nothing replaces or removes a finished file, so this read cannot fail.
        let got = std::fs::read(dir.join(name)).unwrap();
        assert!(got == storm.file(name.parse().unwrap()), "{name} has {} bytes that are not the file", got.len());
    }
}

/// Sets the flag when it is dropped.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_fault_or_kill_leaves_a_broken_file() {
    survive(MANY);
}

#[test]
fn no_fault_or_kill_breaks_a_split_file() {
    survive(LONG);
}

fn survive(storm: Storm) {
    let seed = seed();
    let server = Server::start(move |request| reply(request, storm, seed));
    let mut tdl = fetch().args((0..storm.files).map(|number| server.url(&format!("/{number}")))).args([
        "--retries",
        "20",
        "--stall-timeout",
        "400ms",
        "--progress",
        "none",
    ]);
    let (is_over, out) = (AtomicBool::new(false), tdl.out());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                assert_all_whole(&out, storm);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // Even if a test below panics: the scope waits for the thread that checks the flag.
        let _set_on_drop = SetOnDrop(&is_over);
        for _ in 0..storm.kills {
            let asked = server.requests().len();
            let mut child = tdl.spawn();
            wait_for(|| server.requests().len() >= asked + storm.between || child.try_wait().unwrap().is_some());
            let _ = child.kill();
            child.wait().unwrap();
        }
        Output::from(tdl.spawn()).assert_code(0);
    });
    assert_all_whole(&tdl.out(), storm);
    let mut expected: Vec<_> = (0..storm.files).map(|number| number.to_string()).collect();
    expected.sort();
    assert_eq!(tdl.names(), expected);
}
