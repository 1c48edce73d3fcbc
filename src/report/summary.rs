//! The closing words: what came of the run, and what running side by side gained, each time with how it is known.

use std::fmt::Write as _;
use std::time::Duration;

use super::units::{count, size, speed, time};
use crate::measure::Comparison;
use crate::options::Mode;
use crate::run::Summary;

/// A speed-up nearer to 1 than this may be chance: one measurement is no more exact.
const NOISE: f64 = 0.1;

/// A difference smaller than this may be that the first run had to warm up.
const WARM_UP: Duration = Duration::from_millis(50);

/// After a run.
pub fn of_run(summary: &Summary) -> String {
    let mut text = counts(summary);
    // One file has nothing to run beside, and a run that was ended early is no measure of anything.
    if summary.fetched > 1 && summary.cancelled() == 0 {
        let (concurrent, sequential) = match summary.mode {
            Mode::Concurrent => (
                (summary.elapsed, count(summary.threads, "thread")),
                (summary.own_times, "at most: the downloads' own times added up; --compare measures it".to_owned()),
            ),
            Mode::Sequential => (
                (summary.longest, "at least: the longest download's own time; --compare measures it".to_owned()),
                (summary.elapsed, "one after another".to_owned()),
            ),
        };
        row(&mut text, "concurrent", concurrent.0, &concurrent.1);
        row(&mut text, "sequential", sequential.0, &sequential.1);
    }
    text
}

/// After a comparison.
pub fn of_comparison(comparison: &Comparison) -> String {
    let Comparison { sequential, concurrent, .. } = comparison;
    let mut text = counts(concurrent);
    if sequential.failed() + sequential.cancelled() > 0 {
        let _ = writeln!(text, "of the sequential run: {}", counts(sequential).trim_end());
    }
    row(&mut text, "sequential", sequential.elapsed, "measured; this run went first");
    let threads = format!("measured; {}", count(concurrent.threads, "thread"));
    row(&mut text, "concurrent", concurrent.elapsed, &threads);
    let gain = match comparison.speed_up() {
        None => "not known: the two runs did not get the same files".to_owned(),
        Some(_) if concurrent.total == 1 => {
            "none: one file has nothing to run beside; both runs got the same bytes".to_owned()
        }
        Some(ratio) if (ratio - 1.0).abs() < NOISE || concurrent.elapsed.abs_diff(sequential.elapsed) < WARM_UP => {
            format!("{ratio:.2}x, within the noise of one measurement; both runs got the same bytes")
        }
        Some(ratio) => format!("{ratio:.1}x; both runs got the same bytes"),
    };
    let _ = writeln!(text, "  speed-up    {gain}");
    text + &of_differences(comparison)
}

/// After the first run of a comparison was interrupted.
pub fn of_first_run(summary: &Summary) -> String {
    format!("interrupted in the sequential run, whose files are not kept\n{}", counts(summary))
}

/// The files of which the two runs of a comparison got different bytes.
pub fn of_differences(comparison: &Comparison) -> String {
    let lines = comparison.differing.iter().map(|url| format!("{url}: the two runs got different bytes\n"));
    lines.collect()
}

/// What came, in one line, and a line for each thing that a reader has to know beside it.
fn counts(summary: &Summary) -> String {
    let Summary { total, fetched, bytes, transferred, elapsed, .. } = summary;
    let files = if *total == 1 { "file" } else { "files" };
    let mut text = format!("{fetched} of {total} {files}");
    if *bytes > 0 {
        let _ = write!(text, ", {}", size(*bytes));
    }
    let _ = write!(text, " in {}", time(*elapsed));
    if *transferred > 0 {
        let _ = write!(text, " ({})", speed(*transferred, *elapsed));
    }
    text.push('\n');
    if transferred < bytes {
        let _ = writeln!(text, "  resumed     {:>6}   of it were there before", size(bytes - transferred));
    }
    let mut note = |number: usize, what: &str, why: &str| {
        if number > 0 {
            let _ = writeln!(text, "{}", format!("  {what:<10}  {number:>6}   {why}").trim_end());
        }
    };
    note(summary.skipped, "skipped", "there, not checked");
    note(summary.unchanged, "unchanged", "there, and not changed since, the server says");
    note(summary.unchecked, "unchecked", "no length was announced, so a file cut short could not be told");
    note(summary.encoded, "encoded", "the server sent them in a content coding, and so they were saved");
    note(summary.cancelled(), "not done", "the run ended before them");
    let for_now = match summary.failed_temporarily {
        0 => String::new(),
        number => format!("{number} of them only for now: the same command may succeed later"),
    };
    note(summary.failed(), "failed", &for_now);
    for failure in &summary.failures {
        let _ = writeln!(text, "    {}: {}", failure.url, failure.why);
    }
    let untold = summary.failed() - summary.failures.len().min(summary.failed());
    if untold > 0 {
        let _ = writeln!(text, "    and {untold} more");
    }
    text
}

fn row(text: &mut String, what: &str, took: Duration, how: &str) {
    let _ = writeln!(text, "  {what:<10}  {:>8}   {how}", time(took));
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
            own_times: Duration::from_millis(31_200),
            longest: Duration::from_millis(2_100),
            mode,
            threads: 16,
            failures: vec![],
        }
    }

    #[test]
    fn an_estimate_is_called_one() {
        insta::assert_snapshot!(of_run(&summary(Mode::Concurrent)), @"
        16 of 16 files, 148.0 MiB in 2.41 s (61.4 MiB/s)
          concurrent    2.41 s   16 threads
          sequential   31.20 s   at most: the downloads' own times added up; --compare measures it
        ");
        insta::assert_snapshot!(of_run(&summary(Mode::Sequential)), @"
        16 of 16 files, 148.0 MiB in 2.41 s (61.4 MiB/s)
          concurrent    2.10 s   at least: the longest download's own time; --compare measures it
          sequential    2.41 s   one after another
        ");
    }

    #[test]
    fn what_did_not_come_is_said() {
        let failure = FailureNote { url: "http://h/x".to_owned(), why: "the server answered 404 Not Found".to_owned() };
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
        insta::assert_snapshot!(of_run(&summary), @"
        1 of 16 files, 148.0 MiB in 2.41 s (61.4 MiB/s)
          skipped          1   there, not checked
          unchecked        1   no length was announced, so a file cut short could not be told
          encoded          2   the server sent them in a content coding, and so they were saved
          not done        11   the run ended before them
          failed           3   1 of them only for now: the same command may succeed later
            http://h/x: the server answered 404 Not Found
            http://h/x: the server answered 404 Not Found
            and 1 more
        ");
    }

    #[test]
    fn bytes_that_were_there_before_make_no_speed() {
        let summary = Summary { transferred: 1024 * 1024, fetched: 1, ..summary(Mode::Concurrent) };
        insta::assert_snapshot!(counts(&summary).lines().take(2).collect::<Vec<_>>().join("\n"), @"
        1 of 16 files, 148.0 MiB in 2.41 s (424.9 KiB/s)
          resumed     147.0 MiB   of it were there before
        ");
    }

    #[test]
    fn a_comparison_gives_two_measured_times() {
        let sequential = Summary { elapsed: Duration::from_secs(31), ..summary(Mode::Sequential) };
        let concurrent = summary(Mode::Concurrent);
        let comparison = Comparison { sequential, concurrent, differing: vec![], same: 16 };
        insta::assert_snapshot!(of_comparison(&comparison), @"
        16 of 16 files, 148.0 MiB in 2.41 s (61.4 MiB/s)
          sequential   31.00 s   measured; this run went first
          concurrent    2.41 s   measured; 16 threads
          speed-up    12.9x; both runs got the same bytes
        ");
        let no_gain = Comparison { sequential: summary(Mode::Sequential), ..comparison.clone() };
        assert!(of_comparison(&no_gain).contains("1.00x, within the noise of one measurement"));
        let differing = vec!["http://h/x".to_owned()];
        let differs = of_comparison(&Comparison { differing, same: 15, ..comparison });
        assert!(differs.contains("not known: the two runs did not get the same files"), "{differs}");
        assert!(differs.contains("http://h/x: the two runs got different bytes"), "{differs}");
    }
}
