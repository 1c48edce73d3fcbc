//! Formats the summary: the results of a run and the gain from concurrency. Each time that is compared says whether it
//! is measured, an upper bound or a lower bound.

use std::fmt::Write as _;
use std::time::Duration;

use super::units::{format_count, format_size, format_speed, format_time};
use crate::measure::Comparison;
use crate::options::Mode;
use crate::run::Summary;

/// A speed-up closer to 1 than this may be chance, because each run is measured only once.
const NOISE: f64 = 0.1;

/// A smaller difference may only mean that the first run had to warm up.
const WARM_UP: Duration = Duration::from_millis(50);

/// Formats the summary of a run.
pub fn format_run(summary: &Summary) -> String {
    let mut text = format_counts(summary);
    // A single file gains nothing from concurrency, and the times of an interrupted run are not comparable.
    if summary.fetched > 1 && summary.cancelled() == 0 {
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
        write_time(&mut text, "concurrent", concurrent.0, &concurrent.1);
        write_time(&mut text, "sequential", sequential.0, &sequential.1);
    }
    text
}

/// Formats the summary of a comparison.
pub fn format_comparison(comparison: &Comparison) -> String {
    let Comparison { sequential, concurrent, .. } = comparison;
    let mut text = format_counts(concurrent);
    if sequential.failed() + sequential.cancelled() > 0 {
        let _ = writeln!(text, "in the sequential run: {}", format_counts(sequential).trim_end());
    }
    write_time(&mut text, "sequential", sequential.elapsed, "measured; this run went first");
    let threads = format!("measured; {}", format_count(concurrent.threads, "thread"));
    write_time(&mut text, "concurrent", concurrent.elapsed, &threads);
    let gain = match comparison.speed_up() {
        None => "unknown: the two runs did not fetch the same files".to_owned(),
        Some(_) if concurrent.total == 1 => "none: there is only one file; both runs got the same bytes".to_owned(),
        Some(ratio) if (ratio - 1.0).abs() < NOISE || concurrent.elapsed.abs_diff(sequential.elapsed) < WARM_UP => {
            format!("{ratio:.2}x, within the noise of one measurement; both runs got the same bytes")
        }
        Some(ratio) => format!("{ratio:.1}x; both runs got the same bytes"),
    };
    let _ = writeln!(text, "  speed-up    {gain}");
    text + &format_differences(comparison)
}

/// Formats the summary of a comparison that was interrupted in its first run.
pub fn format_interrupted_comparison(first: &Summary) -> String {
    format!("interrupted during the sequential run, whose files are not kept\n{}", format_counts(first))
}

/// Lists the files for which the two runs of a comparison got different bytes.
pub fn format_differences(comparison: &Comparison) -> String {
    let lines = comparison.differing.iter().map(|url| format!("{url}: the two runs got different bytes\n"));
    lines.collect()
}

/// Formats a line with the totals, one for each other count that is not zero, and the first failures.
fn format_counts(summary: &Summary) -> String {
    let Summary { total, fetched, bytes, transferred, elapsed, .. } = summary;
    let files = if *total == 1 { "file" } else { "files" };
    let mut text = format!("{fetched} of {total} {files}");
    if *bytes > 0 {
        let _ = write!(text, ", {}", format_size(*bytes));
    }
    let _ = write!(text, " in {}", format_time(*elapsed));
    if *transferred > 0 {
        let _ = write!(text, " ({})", format_speed(*transferred, *elapsed));
    }
    text.push('\n');
    if transferred < bytes {
        let _ = writeln!(text, "  resumed     {:>6}   were already on disk", format_size(bytes - transferred));
    }
    write_count(&mut text, "skipped", summary.skipped, "already exists, not checked");
    write_count(&mut text, "unchanged", summary.unchanged, "already exists, unchanged according to the server");
    let undetectable = "no length was announced, so truncation could not be detected";
    write_count(&mut text, "unchecked", summary.unchecked, undetectable);
    write_count(&mut text, "encoded", summary.encoded, "saved with the Content-Encoding that the server applied");
    write_count(&mut text, "not done", summary.cancelled(), "the run ended first");
    let temporary = match summary.failed_temporarily {
        0 => String::new(),
        number => format!("{number} of them temporarily: the same command may succeed later"),
    };
    write_count(&mut text, "failed", summary.failed(), &temporary);
    for failure in &summary.failures {
        let _ = writeln!(text, "    {}: {}", failure.url, failure.reason);
    }
    let unlisted = summary.failed().saturating_sub(summary.failures.len());
    if unlisted > 0 {
        let _ = writeln!(text, "    and {unlisted} more");
    }
    text
}

/// Appends a line for a count, unless it is zero.
fn write_count(text: &mut String, label: &str, number: usize, note: &str) {
    if number > 0 {
        let _ = writeln!(text, "{}", format!("  {label:<10}  {number:>6}   {note}").trim_end());
    }
}

/// Appends a line for a time.
fn write_time(text: &mut String, label: &str, time: Duration, note: &str) {
    let _ = writeln!(text, "  {label:<10}  {:>8}   {note}", format_time(time));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::FailureNote;

    fn summary(mode: Mode) -> Summary {
        Summary {
            total: 16,
            fetched: 16,
            skipped: 0,
            unchanged: 0,
            failed_permanently: 0,
            failed_temporarily: 0,
            unchecked: 0,
            encoded: 0,
            bytes: 148 * 1024 * 1024,
            transferred: 148 * 1024 * 1024,
            elapsed: Duration::from_millis(2_410),
            total_download_time: Duration::from_millis(31_200),
            longest: Duration::from_millis(2_100),
            mode,
            threads: 16,
            failures: vec![],
        }
    }

    #[test]
    fn estimates_are_labelled_as_such() {
        insta::assert_snapshot!(format_run(&summary(Mode::Concurrent)), @"
        16 of 16 files, 148.0 MiB in 2.41 s (61.4 MiB/s)
          concurrent    2.41 s   measured; 16 threads
          sequential   31.20 s   at most: the downloads' own times added up; --compare measures it
        ");
        insta::assert_snapshot!(format_run(&summary(Mode::Sequential)), @"
        16 of 16 files, 148.0 MiB in 2.41 s (61.4 MiB/s)
          concurrent    2.10 s   at least: the longest download's own time; --compare measures it
          sequential    2.41 s   measured; one after another
        ");
    }

    #[test]
    fn every_nonzero_count_has_a_line() {
        let failure =
            FailureNote { url: "http://h/x".to_owned(), reason: "the server responded with 404 Not Found".to_owned() };
        let summary = Summary {
            fetched: 1,
            skipped: 1,
            failed_permanently: 2,
            failed_temporarily: 1,
            unchecked: 1,
            encoded: 2,
            failures: vec![failure; 2],
            ..summary(Mode::Concurrent)
        };
        insta::assert_snapshot!(format_run(&summary), @"
        1 of 16 files, 148.0 MiB in 2.41 s (61.4 MiB/s)
          skipped          1   already exists, not checked
          unchecked        1   no length was announced, so truncation could not be detected
          encoded          2   saved with the Content-Encoding that the server applied
          not done        11   the run ended first
          failed           3   1 of them temporarily: the same command may succeed later
            http://h/x: the server responded with 404 Not Found
            http://h/x: the server responded with 404 Not Found
            and 1 more
        ");
    }

    #[test]
    fn resumed_bytes_do_not_count_towards_the_speed() {
        let summary = Summary { transferred: 1024 * 1024, fetched: 1, ..summary(Mode::Concurrent) };
        insta::assert_snapshot!(format_counts(&summary).lines().take(2).collect::<Vec<_>>().join("\n"), @"
        1 of 16 files, 148.0 MiB in 2.41 s (424.9 KiB/s)
          resumed     147.0 MiB   were already on disk
        ");
    }

    #[test]
    fn a_comparison_shows_two_measured_times() {
        let sequential = Summary { elapsed: Duration::from_secs(31), ..summary(Mode::Sequential) };
        let concurrent = summary(Mode::Concurrent);
        let comparison = Comparison { sequential, concurrent, differing: vec![], same: 16 };
        insta::assert_snapshot!(format_comparison(&comparison), @"
        16 of 16 files, 148.0 MiB in 2.41 s (61.4 MiB/s)
          sequential   31.00 s   measured; this run went first
          concurrent    2.41 s   measured; 16 threads
          speed-up    12.9x; both runs got the same bytes
        ");
        let no_gain = Comparison { sequential: summary(Mode::Sequential), ..comparison.clone() };
        assert!(format_comparison(&no_gain).contains("1.00x, within the noise of one measurement"));
        let differing = vec!["http://h/x".to_owned()];
        let differs = format_comparison(&Comparison { differing, same: 15, ..comparison });
        assert!(differs.contains("unknown: the two runs did not fetch the same files"), "{differs}");
        assert!(differs.contains("http://h/x: the two runs got different bytes"), "{differs}");
    }
}
