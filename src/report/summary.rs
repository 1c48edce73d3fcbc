//! Formats the summary: what is there, what is not and why, and the gain from concurrency. Each time that is compared
//! says whether it is measured, an upper bound or a lower bound.

use std::fmt::Write as _;
use std::time::Duration;

use super::places::Places;
use super::units::{format_count, format_mean_speed, format_size, format_time};
use crate::measure::Comparison;
use crate::options::Mode;
use crate::run::{FailureNote, Summary};

/// A speed-up closer to 1 than this may be chance, because each run is measured only once.
const NOISE: f64 = 0.1;

/// A smaller difference may only mean that the first run had to warm up.
const WARM_UP: Duration = Duration::from_millis(50);

/// The times are not worth comparing if failed downloads took more than this part of them.
const MOST_FAILED: f64 = 0.1;

/// Nor are they if the list took more than this part of the run to come.
const MOST_WAITED: f64 = 0.1;

/// Formats the summary of a run.
pub fn format_run(summary: &Summary, places: &Places) -> String {
    let mut text = format_counts(summary);
    write_gain(&mut text, summary);
    write_failures(&mut text, summary, places);
    text
}

/// Formats the summary of a run that a signal ended.
pub fn format_interrupted(summary: &Summary, places: &Places) -> String {
    let mut text = format_counts(summary);
    write_failures(&mut text, summary, places);
    text + "interrupted; run the same command to go on\n"
}

/// Formats the summary of a comparison that was interrupted in its first run.
pub fn format_interrupted_comparison(first: &Summary, places: &Places) -> String {
    let mut text = format!("interrupted during the sequential run, whose files are not kept\n{}", format_counts(first));
    write_failures(&mut text, first, places);
    text
}

/// Formats the summary of a comparison.
pub fn format_comparison(comparison: &Comparison, places: &Places) -> String {
    let Comparison { sequential, concurrent, .. } = comparison;
    let mut text = format_counts(concurrent);
    let without = |failed: usize, way: &str| match failed {
        0 => way.to_owned(),
        _ => format!("{way}, without what the failures took"),
    };
    if comparison.same == 0 && comparison.differing.is_empty() {
        text += "  speed-up    unknown: neither run got any file that the other got\n";
        text += &format_differences(comparison);
        write_failures(&mut text, concurrent, places);
        return text;
    }
    let first = without(sequential.failed(), "measured; this run went first");
    write_time(&mut text, "sequential", comparison.sequential_time(), &first);
    let threads = format!("measured; {}", format_count(concurrent.threads, "thread"));
    write_time(&mut text, "concurrent", comparison.concurrent_time(), &without(concurrent.failed(), &threads));
    let _ = writeln!(text, "  speed-up    {}", format_speed_up(comparison));
    text += &format_differences(comparison);
    for url in &comparison.in_neither {
        let _ = writeln!(text, "{url}: neither run got it");
    }
    write_failures(&mut text, concurrent, places);
    text
}

/// Lists the files for which the two runs of a comparison got different bytes, or which only one of them got.
pub fn format_differences(comparison: &Comparison) -> String {
    let differing = comparison.differing.iter().map(|url| format!("{url}: the two runs got different bytes\n"));
    differing.chain(comparison.in_one.iter().map(|url| format!("{url}: only one of the runs got it\n"))).collect()
}

fn format_speed_up(comparison: &Comparison) -> String {
    let difference = comparison.concurrent_time().abs_diff(comparison.sequential_time());
    let same = match comparison.same {
        same if same == comparison.concurrent.total => "both runs got the same bytes".to_owned(),
        same => format!("both runs got the same bytes of the same {}", format_count(same, "file")),
    };
    match comparison.speed_up() {
        None => "unknown: the two runs did not get the same files".to_owned(),
        Some(_) if comparison.same == 1 => format!("none: there is only one file; {same}"),
        Some(ratio) if (ratio - 1.0).abs() < NOISE || difference < WARM_UP => {
            format!("{ratio:.2}x, within the noise of one measurement; {same}")
        }
        Some(ratio) => format!("{ratio:.1}x; {same}"),
    }
}

/// Formats how many files are there, how they came to be, and what is to be known about them.
fn format_counts(summary: &Summary) -> String {
    let Summary { total, fetched, skipped, same_source, unchanged, .. } = summary;
    let there = fetched + summary.existing();
    let (noun, verb) = if *total == 1 { ("file", "is") } else { ("files", "are") };
    let number = |count: usize| match count {
        count if count < *total => count.to_string(),
        1 => "it".to_owned(),
        _ => "all".to_owned(),
    };
    let were = |count: usize| format!("{} {} there before", number(count), if count == 1 { "was" } else { "were" });
    let whose_url = |count: usize| if count == 1 { "its URL" } else { "their URLs" };
    let ways = [
        (*fetched, if *total == 1 { "fetched".to_owned() } else { format!("{} fetched", number(*fetched)) }),
        (*same_source, format!("{} (fetched from {})", were(*same_source), whose_url(*same_source))),
        (*skipped, format!("{} (not checked)", were(*skipped))),
        (*unchanged, format!("{} (unchanged, says the server)", were(*unchanged))),
    ];
    let ways: Vec<_> = ways.into_iter().filter(|(count, _)| *count > 0).map(|(_, way)| way).collect();
    let mut text = format!("{there} of {total} {noun} {verb} there");
    if !ways.is_empty() {
        let _ = write!(text, ": {}", ways.join(", "));
    }
    text.push('\n');
    write_bytes(&mut text, summary);
    let undetectable = "no length was announced, so truncation could not be detected";
    write_count(&mut text, "unchecked", summary.unchecked, undetectable);
    write_count(&mut text, "encoded", summary.encoded, "saved with the Content-Encoding that the server applied");
    if summary.is_list_open {
        text += "  the list was not read to its end: there may be more files\n";
    }
    write_count(&mut text, "not done", summary.cancelled(), "the run ended first");
    text
}

/// Appends what came over the network, and how fast. Other bytes of the files were on disk before.
fn write_bytes(text: &mut String, summary: &Summary) {
    let Summary { bytes, transferred, elapsed, .. } = summary;
    if *transferred > 0 {
        let (size, time, speed) =
            (format_size(*transferred), format_time(*elapsed), format_mean_speed(*transferred, *elapsed));
        let _ = writeln!(text, "{size} in {time}, {speed}");
    }
    if transferred < bytes {
        let _ = writeln!(text, "  resumed     {:>8}   were already on disk", format_size(bytes - transferred));
    }
}

/// Appends what concurrency gains, where that can be said: for several files, of a run that was not interrupted, and
/// whose time was not that of failures or of a list that came slowly.
fn write_gain(text: &mut String, summary: &Summary) {
    let is_dominated_by_failures =
        summary.failed_time.as_secs_f64() > MOST_FAILED * summary.total_download_time.as_secs_f64();
    let waited_for_list = summary.list_time.as_secs_f64() > MOST_WAITED * summary.elapsed.as_secs_f64();
    let was_stopped = summary.cancelled() > 0 || summary.is_list_open;
    if summary.fetched < 2 || was_stopped || is_dominated_by_failures || waited_for_list {
        return;
    }
    let (concurrent, sequential) = match summary.mode {
        Mode::Concurrent => (
            (summary.elapsed, format!("measured; {}", format_count(summary.threads, "thread"))),
            (
                summary.total_download_time,
                "at most: the downloads' own times added up; --compare measures it".to_owned(),
            ),
        ),
        Mode::Sequential => (
            (summary.longest, "at least: the longest download's own time; --compare measures it".to_owned()),
            (summary.elapsed, "measured; one after another".to_owned()),
        ),
    };
    write_time(text, "concurrent", concurrent.0, &concurrent.1);
    write_time(text, "sequential", sequential.0, &sequential.1);
}

/// Appends the failures: first the permanent ones, then those that may succeed later.
fn write_failures(text: &mut String, summary: &Summary, places: &Places) {
    let permanent = "failed";
    let temporary = "failed temporarily; the same command may succeed later";
    for (is_temporary, count, what) in
        [(false, summary.failed_permanently, permanent), (true, summary.failed_temporarily, temporary)]
    {
        if count == 0 {
            continue;
        }
        let _ = writeln!(text, "{count} {what}:");
        let listed: Vec<_> = summary.failures.iter().filter(|note| note.is_temporary == is_temporary).collect();
        for FailureNote { place, url, reason, .. } in &listed {
            let parts = [places.format(*place), url.clone(), Some(reason.clone())];
            let _ = writeln!(text, "  {}", parts.into_iter().flatten().collect::<Vec<_>>().join(": "));
        }
        let unlisted = count.saturating_sub(listed.len());
        if unlisted > 0 {
            let _ = writeln!(text, "  and {unlisted} more");
        }
    }
}

/// Appends a line for a count, unless it is zero.
fn write_count(text: &mut String, label: &str, number: usize, note: &str) {
    if number > 0 {
        let _ = writeln!(text, "  {label:<10}  {number:>8}   {note}");
    }
}

/// Appends a line for a time.
fn write_time(text: &mut String, label: &str, time: Duration, note: &str) {
    let _ = writeln!(text, "  {label:<10}  {:>8}   {note}", format_time(time));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(mode: Mode) -> Summary {
        let bytes = 148 * 1024 * 1024;
        Summary {
            total: 16,
            fetched: 16,
            bytes,
            transferred: bytes,
            elapsed: Duration::from_millis(2_410),
            total_download_time: Duration::from_millis(31_200),
            longest: Duration::from_millis(2_100),
            last_fetched: Duration::from_millis(2_400),
            mode,
            threads: 16,
            ..Summary::default()
        }
    }

    fn note(place: u32, code: u16) -> FailureNote {
        let reason = format!("the server responded with {code}");
        FailureNote { id: 0, place, url: Some(format!("http://h/{place}")), reason, is_temporary: code == 503 }
    }

    fn places() -> Places {
        let mut places = Places::default();
        places.add("urls.txt");
        places.count_lines(9);
        places
    }

    #[test]
    fn estimates_are_labelled_as_such() {
        insta::assert_snapshot!(format_run(&summary(Mode::Concurrent), &places()), @"
        16 of 16 files are there: all fetched
        148.0 MiB in 2.41 s, 61.4 MiB/s
          concurrent    2.41 s   measured; 16 threads
          sequential   31.20 s   at most: the downloads' own times added up; --compare measures it
        ");
        insta::assert_snapshot!(format_run(&summary(Mode::Sequential), &places()), @"
        16 of 16 files are there: all fetched
        148.0 MiB in 2.41 s, 61.4 MiB/s
          concurrent    2.10 s   at least: the longest download's own time; --compare measures it
          sequential    2.41 s   measured; one after another
        ");
    }

    #[test]
    fn every_nonzero_count_is_told() {
        let summary = Summary {
            fetched: 3,
            same_source: 4,
            skipped: 2,
            unchanged: 1,
            failed_permanently: 3,
            failed_temporarily: 1,
            unchecked: 1,
            encoded: 2,
            failures: vec![note(2, 404), note(3, 503), note(5, 404)],
            ..summary(Mode::Concurrent)
        };
        insta::assert_snapshot!(format_run(&summary, &places()), @"
        10 of 16 files are there: 3 fetched, 4 were there before (fetched from their URLs), 2 were there before (not checked), 1 was there before (unchanged, says the server)
        148.0 MiB in 2.41 s, 61.4 MiB/s
          unchecked          1   no length was announced, so truncation could not be detected
          encoded            2   saved with the Content-Encoding that the server applied
          not done           2   the run ended first
        3 failed:
          urls.txt:2: http://h/2: the server responded with 404
          urls.txt:5: http://h/5: the server responded with 404
          and 1 more
        1 failed temporarily; the same command may succeed later:
          urls.txt:3: http://h/3: the server responded with 503
        ");
        let interrupted = format_run(&summary, &places()) + "interrupted; run the same command to go on\n";
        assert_eq!(format_interrupted(&summary, &places()), interrupted);
    }

    #[test]
    fn what_is_the_same_for_all_files_is_said_once() {
        let first_line = |summary: &Summary| format_counts(summary).lines().next().unwrap().to_owned();
        let of = |total, fetched, skipped| Summary { total, fetched, skipped, ..Summary::default() };
        assert_eq!(first_line(&of(1, 1, 0)), "1 of 1 file is there: fetched");
        assert_eq!(first_line(&of(2, 0, 2)), "2 of 2 files are there: all were there before (not checked)");
        assert_eq!(first_line(&of(1, 0, 1)), "1 of 1 file is there: it was there before (not checked)");
        assert_eq!(first_line(&of(3, 1, 1)), "2 of 3 files are there: 1 fetched, 1 was there before (not checked)");
        assert_eq!(first_line(&of(3, 0, 0)), "0 of 3 files are there");
        let again = |total, same_source| first_line(&Summary { total, same_source, ..Summary::default() });
        assert_eq!(again(2, 2), "2 of 2 files are there: all were there before (fetched from their URLs)");
        assert_eq!(again(1, 1), "1 of 1 file is there: it was there before (fetched from its URL)");
    }

    #[test]
    fn resumed_bytes_do_not_count_towards_the_speed() {
        let summary = Summary { transferred: 1024 * 1024, fetched: 1, ..summary(Mode::Concurrent) };
        insta::assert_snapshot!(format_counts(&summary), @"
        1 of 16 files are there: 1 fetched
        1.0 MiB in 2.41 s, 424.9 KiB/s
          resumed     147.0 MiB   were already on disk
          not done          15   the run ended first
        ");
    }

    #[test]
    fn times_are_not_compared_where_failures_took_most_of_them() {
        let failed_time = Duration::from_secs(27);
        let summary = Summary { fetched: 15, failed_temporarily: 1, failed_time, ..summary(Mode::Sequential) };
        assert!(!format_run(&summary, &places()).contains("concurrent"));
    }

    #[test]
    fn no_gain_is_claimed_where_the_list_came_slowly_or_did_not_end() {
        let summary = Summary { fetched: 16, ..summary(Mode::Concurrent) };
        assert!(format_run(&summary, &places()).contains("sequential"));
        let slow = Summary { list_time: summary.elapsed / 2, ..summary.clone() };
        assert!(!format_run(&slow, &places()).contains("sequential"));
        let open = format_run(&Summary { is_list_open: true, ..summary }, &places());
        assert!(!open.contains("sequential") && open.contains("the list was not read to its end"), "{open}");
    }

    fn comparison() -> Comparison {
        let sequential = Summary { elapsed: Duration::from_secs(31), ..summary(Mode::Sequential) };
        let (differing, in_one, in_neither) = (vec![], vec![], vec![]);
        Comparison { sequential, concurrent: summary(Mode::Concurrent), same: 16, differing, in_one, in_neither }
    }

    #[test]
    fn a_comparison_shows_two_measured_times() {
        insta::assert_snapshot!(format_comparison(&comparison(), &places()), @"
        16 of 16 files are there: all fetched
        148.0 MiB in 2.41 s, 61.4 MiB/s
          sequential   31.00 s   measured; this run went first
          concurrent    2.41 s   measured; 16 threads
          speed-up    12.9x; both runs got the same bytes
        ");
        let no_gain = Comparison { sequential: summary(Mode::Sequential), ..comparison() };
        assert!(format_comparison(&no_gain, &places()).contains("1.00x, within the noise of one measurement"));
        let differing = vec!["http://h/x".to_owned()];
        let differs = format_comparison(&Comparison { differing, same: 15, ..comparison() }, &places());
        assert!(differs.contains("unknown: the two runs did not get the same files"), "{differs}");
        assert!(differs.contains("http://h/x: the two runs got different bytes"), "{differs}");
    }

    #[test]
    fn the_speed_up_is_over_the_files_that_both_runs_got() {
        let failures = vec![note(4, 404)];
        let with_dead = |summary: Summary, failed_time| Summary {
            fetched: 15,
            failed_permanently: 1,
            failed_time: Duration::from_secs(failed_time),
            failures: failures.clone(),
            ..summary
        };
        let Comparison { sequential, concurrent, .. } = comparison();
        let concurrent = Summary { elapsed: Duration::from_secs(20), ..with_dead(concurrent, 20) };
        let comparison = Comparison {
            sequential: with_dead(sequential, 21),
            concurrent,
            same: 15,
            in_neither: vec!["http://h/4".to_owned()],
            ..comparison()
        };
        insta::assert_snapshot!(format_comparison(&comparison, &places()), @"
        15 of 16 files are there: 15 fetched
        148.0 MiB in 20.00 s, 7.4 MiB/s
          sequential   10.00 s   measured; this run went first, without what the failures took
          concurrent    2.40 s   measured; 16 threads, without what the failures took
          speed-up    4.2x; both runs got the same bytes of the same 15 files
        http://h/4: neither run got it
        1 failed:
          urls.txt:4: http://h/4: the server responded with 404
        ");
    }
}
