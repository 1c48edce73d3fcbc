//! Runs of the real queue, limiter and segments over modelled links, in virtual time. They are compared with the fastest
//! fixed number of requests.

mod link;
mod run;

use link::{Link, Server};
use run::{Run, Simulation};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

fn simulate(link: Link, lengths: &[u64], fixed: Option<usize>, splits: bool) -> Run {
    Simulation::new(link, lengths, fixed, splits).run()
}

/// The fastest of all fixed numbers of requests, with and without splitting.
fn best_fixed(link: Link, lengths: &[u64]) -> (usize, bool, Run) {
    let settings = [1, 2, 4, 8, 16, 32, 64].into_iter().flat_map(|count| [(count, false), (count, true)]);
    let runs = settings.map(|(count, splits)| (count, splits, simulate(link, lengths, Some(count), splits)));
    runs.min_by(|(.., a), (.., b)| a.seconds.total_cmp(&b.seconds)).unwrap()
}

fn list(parts: &[(usize, u64)]) -> Vec<u64> {
    parts.iter().flat_map(|(count, length)| vec![*length; *count]).collect()
}

/// A link with a round trip in milliseconds, a rate in Mbit/s, and a queue of one round trip.
fn link(round_trip: f64, rate: f64) -> Link {
    let round_trip = round_trip / 1000.0;
    Link {
        round_trip,
        rate: rate * 125_000.0,
        queue: round_trip,
        per_connection: f64::INFINITY,
        server: Server::Delays(0.0),
    }
}

#[test]
fn the_limiter_is_nearly_as_fast_as_the_best_fixed_setting() {
    let limited = |link: Link, mbit: f64| Link { per_connection: mbit * 125_000.0, ..link };
    let served = |link: Link, server| Link { server, ..link };
    let links = [
        ("metro", link(10.0, 500.0)),
        ("country", link(40.0, 300.0)),
        ("ocean", link(120.0, 200.0)),
        ("satellite", link(600.0, 50.0)),
        ("mobile", link(80.0, 30.0)),
        ("thin", link(100.0, 5.0)),
        ("ocean, 10 Mbit/s each", limited(link(120.0, 200.0), 10.0)),
        ("country, 60 Mbit/s each", limited(link(40.0, 300.0), 60.0)),
        ("server that takes 100 ms", served(link(1.0, 1000.0), Server::Delays(0.1))),
        ("server that serves 4 at once", served(link(20.0, 300.0), Server::ServesAtOnce(4, 0.05))),
        ("server that serves 24 at once", served(link(20.0, 300.0), Server::ServesAtOnce(24, 0.1))),
    ];
    let lists = [
        ("tiny", list(&[(1000, 4 * KIB)])),
        ("small", list(&[(400, 64 * KIB)])),
        ("mid", list(&[(40, 2 * MIB)])),
        ("big", list(&[(1, 128 * MIB)])),
        ("skewed", list(&[(36, 512 * KIB), (3, 8 * MIB), (1, 32 * MIB)])),
    ];
    let mut failures = Vec::new();
    for (link_name, link) in links {
        for (list_name, lengths) in &lists {
            // TRACE
            if std::env::var("SIM").is_ok_and(|sim| !format!("{link_name} {list_name}").contains(&sim)) {
                continue;
            }
            let run = simulate(link, lengths, None, true);
            let (count, splits, best) = best_fixed(link, lengths);
            let (ratio, wasted) = (run.seconds / best.seconds, run.wasted / lengths.iter().sum::<u64>() as f64);
            let row = format!(
                "{link_name:30} {list_name:7} {:7.2} s, best {:7.2} s with {count:2}{}: {ratio:.2}, {:.1} % wasted",
                run.seconds,
                best.seconds,
                if splits { " split" } else { "      " },
                wasted * 100.0
            );
            eprintln!("{row}");
            if ratio > 1.15 || wasted > 0.03 {
                failures.push(row);
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
