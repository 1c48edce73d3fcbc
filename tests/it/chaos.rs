//! Everything at once: a server whose every second answer is a fault, and a tdl that is killed again and again.
//! At no instant has a final name anything but a whole file, and in the end every file is there and nothing else.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::command::{Ended, content, fetch, names, wait_for};
use crate::server::{Reply, Request, Server};

const FILES: usize = 300;
const KILLS: usize = 20;

/// Other faults: `TDL_CHAOS_SEED=8 cargo test chaos`.
fn seed() -> u64 {
    std::env::var("TDL_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7)
}

fn file(number: usize) -> Vec<u8> {
    const LENGTHS: [usize; 6] = [0, 1000, 65_536, 65_537, 150_000, 400_000];
    content(number, LENGTHS[number % LENGTHS.len()])
}

/// A good answer, or one of seven faults, by the number of the request.
fn answer(request: &Request, seed: u64) -> Reply {
    let body = file(request.target[1..].parse().unwrap());
    let good = Reply::file(request, &body, "\"one\"").drip(100_000, Duration::from_millis(1));
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
        // A rest that is none, or that is of another file.
        _ if request.header("range").is_some() && random.bool() => Reply::rest(&[&body[..], b"x"].concat(), 0),
        _ if request.header("range").is_some() => Reply::rest(&body, 0).header("ETag", "\"two\""),
        _ => good.cut_after(0),
    }
}

/// Asserts that every final name in the directory has a whole file.
fn all_are_whole(dir: &Path) {
    for name in names(dir).iter().filter(|name| !name.contains(".part")) {
        // One that is there stays there: nothing replaces or removes it.
        let got = std::fs::read(dir.join(name)).unwrap();
        assert!(got == file(name.parse().unwrap()), "{name} has {} bytes that are not the file", got.len());
    }
}

/// Says so when it goes.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_fault_and_no_kill_leaves_a_broken_file() {
    let seed = seed();
    let server = Server::start(move |request| answer(request, seed));
    let mut tdl = fetch().args((0..FILES).map(|number| server.url(&format!("/{number}")))).args([
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
                all_are_whole(&out);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // Also when something below fails, or the scope would wait for ever.
        let _over = Over(&is_over);
        for _ in 0..KILLS {
            let asked = server.requests().len();
            let mut child = tdl.spawn();
            wait_for(|| server.requests().len() >= asked + 12 || child.try_wait().unwrap().is_some());
            let _ = child.kill();
            child.wait().unwrap();
        }
        Ended::from(tdl.spawn()).with(0);
    });
    all_are_whole(&tdl.out());
    let mut expected: Vec<_> = (0..FILES).map(|number| number.to_string()).collect();
    expected.sort();
    assert_eq!(tdl.names(), expected);
}
