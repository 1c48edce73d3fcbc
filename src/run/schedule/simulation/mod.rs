//! Runs of the real queue, limiter and segments over modelled links, in virtual time. They are compared with the fastest
//! fixed number of requests, found by trying.

mod link;
mod run;

use std::thread;

use link::{Link, Server};
use run::{Run, Simulation};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

fn simulate(link: Link, lengths: &[u64], fixed: Option<usize>, splits: bool) -> Run {
    Simulation::new(link, lengths, fixed, splits).run()
}

/// The fastest of all fixed numbers of requests, with and without splitting.
fn best_fixed(link: Link, lengths: &[u64]) -> (usize, bool, Run) {
    let has_large = lengths.iter().any(|length| *length > 4 * MIB);
    let settings = [1, 4, 8, 16, 32, 64].into_iter().flat_map(|count| [(count, false), (count, true)]);
    let settings = settings.filter(|(_, splits)| has_large || !splits);
    let runs = settings.map(|(count, splits)| (count, splits, simulate(link, lengths, Some(count), splits)));
    runs.min_by(|(.., a), (.., b)| a.seconds.total_cmp(&b.seconds)).unwrap()
}

fn list(parts: &[(usize, u64)]) -> Vec<u64> {
    parts.iter().flat_map(|(count, length)| vec![*length; *count]).collect()
}

/// A link with a round trip in milliseconds, a rate in Mbit/s, and a queue of one round trip.
fn link(round_trip: f64, mbits: f64) -> Link {
    let (round_trip, per_connection, server) = (round_trip / 1000.0, f64::INFINITY, Server::Delays(0.0));
    Link { round_trip, rate: mbits * 125_000.0, queue: round_trip, per_connection, server }
}

/// Lists of small files, of a few larger ones, of one large one, and of very different ones.
fn lists() -> [(&'static str, Vec<u64>); 5] {
    [
        ("tiny", list(&[(1000, 4 * KIB)])),
        ("small", list(&[(400, 64 * KIB)])),
        ("mid", list(&[(40, 2 * MIB)])),
        ("big", list(&[(1, 128 * MIB)])),
        ("skewed", list(&[(36, 512 * KIB), (3, 8 * MIB), (1, 32 * MIB)])),
    ]
}

#[test]
fn the_limiter_is_nearly_as_fast_as_the_best_fixed_setting() {
    let limited = |link: Link, mbits: f64| Link { per_connection: mbits * 125_000.0, ..link };
    let served = |link: Link, server| Link { server, ..link };
    let links = [
        ("10 ms, 500 Mbit/s", link(10.0, 500.0)),
        ("40 ms, 300 Mbit/s", link(40.0, 300.0)),
        ("120 ms, 200 Mbit/s", link(120.0, 200.0)),
        ("80 ms, 30 Mbit/s", link(80.0, 30.0)),
        ("100 ms, 5 Mbit/s", link(100.0, 5.0)),
        ("600 ms, 50 Mbit/s", link(600.0, 50.0)),
        ("120 ms, 200 Mbit/s, 10 each", limited(link(120.0, 200.0), 10.0)),
        ("40 ms, 300 Mbit/s, 60 each", limited(link(40.0, 300.0), 60.0)),
        ("a server that takes 100 ms", served(link(2.0, 1000.0), Server::Delays(0.1))),
        ("a server that serves 4 at once", served(link(20.0, 300.0), Server::ServesAtOnce(4, 0.05))),
        ("a server that serves 24 at once", served(link(20.0, 300.0), Server::ServesAtOnce(24, 0.1))),
    ];
    let failures: Vec<String> = thread::scope(|scope| {
        let threads = links.map(|(name, link)| scope.spawn(move || compare(name, link)));
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Compares the limiter with fixed settings over one link. Returns the lists for which it is too slow or wastes too
/// much.
fn compare(name: &str, link: Link) -> Vec<String> {
    let mut failures = Vec::new();
    for (list_name, lengths) in lists() {
        let total = lengths.iter().sum::<u64>() as f64;
        if total / link.rate > 40.0 {
            // Everything is the same there.
            continue;
        }
        // Where each connection is slow, or a round trip takes long, a trial on the last file takes as long as that.
        let is_hard = link.per_connection.is_finite() || link.round_trip > 0.5;
        let most = if is_hard && list_name == "skewed" { 1.3 } else { 1.15 };
        let most_wasted = if is_hard { 0.045 } else { 0.03 };
        let run = simulate(link, &lengths, None, true);
        let (count, splits, best) = best_fixed(link, &lengths);
        let (ratio, wasted) = (run.seconds / best.seconds, run.wasted / total);
        let split = if splits { " split" } else { "" };
        let row = format!(
            "{name}, {list_name}: {:.2} s, {ratio:.2} times that of {count}{split}; {:.1} % wasted",
            run.seconds,
            wasted * 100.0
        );
        if ratio > most || wasted > most_wasted {
            failures.push(row);
        }
    }
    failures
}

#[test]
fn a_server_that_refuses_is_asked_as_much_as_it_takes() {
    for capacity in [2, 4, 8, 12] {
        let refusing = Link { server: Server::RefusesAbove(capacity, 0.05), ..link(20.0, 300.0) };
        let lengths = list(&[(400, 4 * KIB)]);
        let run = simulate(refusing, &lengths, None, true);
        let best = simulate(refusing, &lengths, Some(capacity), true);
        assert!(run.seconds <= best.seconds * 1.3, "{capacity}: {run:?} instead of {best:?}");
        assert!(run.refused * 6 <= run.requests, "{capacity}: {run:?}");
    }
}
