//! Formats a run in progress: a line for all of it, and a row for each download, to the width of the terminal.

use std::time::{Duration, Instant};

use console::measure_text_width;

use super::live::{Amount, Live, Running, TimeLeft, Wait};
use super::style::{Style, Tone};
use super::units::{format_amount, format_clock, format_size, format_speed};
use crate::options::Mode;

/// The columns of each part of a row.
const PERCENT: usize = 4;
const SIZE: usize = 15;
const SPEED: usize = 11;
const TIME: usize = 7;
const CONNECTIONS: usize = 3;

/// A bar has at least so many columns.
const MIN_BAR: usize = 8;

/// So much is shown of why a download waits.
const MIN_CAUSE: usize = 12;

/// A download has no response for this long before that is said.
const NO_RESPONSE: Duration = Duration::from_secs(2);

/// Where text goes.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub columns: usize,
    pub rows: usize,
    pub style: Style,
}

/// Formats the lines of a run: at most as many as the place has rows, each shorter than it is wide.
pub fn format_run(live: &Live, now: Instant, place: Place) -> Vec<String> {
    let Place { columns, rows, style } = place;
    // A line as wide as the terminal would wrap on some.
    let columns = columns.saturating_sub(1);
    let mut lines = vec![status_line(live, now, columns, style)];
    let (waiting, active): (Vec<_>, Vec<_>) = live.running.iter().partition(|running| running.wait.is_some());
    let room = rows.saturating_sub(1);
    let all = active.len() + waiting.len();
    let shown = if all <= room { all } else { room.saturating_sub(1) };
    // What waits, and why, has some of the rows in any case.
    let shown_waiting = waiting.len().min((shown / 3).max(shown.saturating_sub(active.len())));
    let shown_active = active.len().min(shown - shown_waiting);
    let rows = || active.iter().take(shown_active).chain(waiting.iter().take(shown_waiting));
    let names = rows().map(|running| measure_text_width(running.target.as_str())).max().unwrap_or_default();
    lines.extend(rows().map(|running| format_row(live, running, now, columns, names, style)));
    if shown < all && room > 0 {
        let more = format!("{} and {} more", style.ellipsis(), all - shown_active - shown_waiting);
        let what = match waiting.len() - shown_waiting {
            0 => String::new(),
            waiting => format!(", {waiting} of them waiting"),
        };
        lines.push(style.paint(Tone::Faint, &fit_end(&format!("  {more}{what}"), columns, style)));
    }
    lines
}

/// Formats the whole run in one line. If that has no room, it is worded shorter, and the least important is left out.
pub fn status_line(live: &Live, now: Instant, columns: usize, style: Style) -> String {
    let separator = style.separator();
    let width = |parts: &[Part]| {
        let separators = separator.chars().count() * parts.len().saturating_sub(1);
        parts.iter().map(|part| measure_text_width(&part.text)).sum::<usize>() + separators
    };
    let mut parts = status_parts(live, now, false);
    if width(&parts) > columns {
        parts = status_parts(live, now, true);
    }
    while parts.len() > 1 && width(&parts) > columns {
        let least = parts.iter().enumerate().max_by_key(|(_, part)| part.rank).map_or(0, |(index, _)| index);
        parts.remove(least);
    }
    let texts = parts.iter().map(|part| match part.tone {
        Some(tone) => style.paint(tone, &part.text),
        None => fit_end(&part.text, columns, style),
    });
    texts.collect::<Vec<_>>().join(separator)
}

/// A part of the status line. The lower its rank, the longer it is shown.
struct Part {
    rank: u8,
    text: String,
    tone: Option<Tone>,
}

fn status_parts(live: &Live, now: Instant, is_short: bool) -> Vec<Part> {
    let plain = |rank, text| Part { rank, text, tone: None };
    let noun = if live.total == 1 { "file" } else { "files" };
    let so_far = if live.is_list_open { " so far" } else { "" };
    let mut parts = vec![plain(0, format!("{}/{} {noun}{so_far}", live.done, live.total))];
    if live.failed > 0 {
        parts.push(Part { rank: 1, text: format!("{} failed", live.failed), tone: Some(Tone::Bad) });
    }
    if live.waiting() > 0 {
        parts.push(Part { rank: 5, text: format!("{} waiting", live.waiting()), tone: Some(Tone::Waiting) });
    }
    if let Some((host, until)) = live.longest_held(now) {
        let time = format_clock(until.saturating_duration_since(now));
        parts.push(Part { rank: 5, text: format!("{host} asks to wait {time}"), tone: Some(Tone::Waiting) });
    }
    let Amount { received, total, is_whole } = live.amount();
    if total > 0 {
        let amount = match (is_whole, is_short) {
            (true, _) => format_amount(received, total, " of "),
            (false, false) => format_amount(received, total, " of at least "),
            (false, true) => format_amount(received, total, " of ") + "+",
        };
        parts.push(plain(2, amount));
    }
    parts.push(plain(3, format_speed(live.speed())));
    parts.push(plain(6, format_clock(live.running_time())));
    if let Some(left) = live.time_left(now) {
        let text = match (left, is_short) {
            (TimeLeft::About(time), false) => format!("about {} left", format_clock(time)),
            (TimeLeft::About(time), true) => format!("~{} left", format_clock(time)),
            (TimeLeft::AtLeast(time), false) => format!("at least {} left", format_clock(time)),
            (TimeLeft::AtLeast(time), true) => format!("{}+ left", format_clock(time)),
        };
        parts.push(plain(4, text));
    }
    if live.mode == Mode::Sequential {
        parts.push(plain(7, "one after another".to_owned()));
    }
    parts
}

/// Formats the row of a download. `names` is the width of the longest name that is shown.
fn format_row(live: &Live, running: &Running, now: Instant, columns: usize, names: usize, style: Style) -> String {
    let indent = "  ";
    let columns = columns.saturating_sub(indent.len());
    if let Some(wait) = &running.wait {
        let least_for_name = names.min(columns / 3);
        let wait = Wait { until: live.waits_until(running, wait), ..wait.clone() };
        let text = format_wait(&wait, now, columns.saturating_sub(least_for_name + 2), style);
        let room = columns.saturating_sub(measure_text_width(&text) + 2).min(names);
        let name = fit_middle(running.target.as_str(), room, style);
        return format!("{indent}{name}  {}", style.paint(Tone::Waiting, &text));
    }
    let received = running.progress.received();
    let length = running.progress.length();
    let fields = format_fields(running, now, columns, style);
    let fields_width = measure_text_width(&fields);
    let room = columns.saturating_sub(fields_width + 1);
    let most_for_name = if room >= 3 * MIN_BAR { room - (room / 3).max(MIN_BAR) - 1 } else { room };
    let name_width = names.min(most_for_name);
    let name = fit_middle(running.target.as_str(), name_width, style);
    let bar_width = room.saturating_sub(name_width + 1);
    let bar = match length {
        Some(length) if bar_width >= MIN_BAR => style.bar(bar_width, received as f64 / length.max(1) as f64),
        _ => " ".repeat(bar_width),
    };
    let gap = if bar_width > 0 { " " } else { "" };
    format!("{indent}{name}{gap}{bar} {fields}")
}

/// Formats percent, size, speed, time left and connections, as far as there is room for them beside a name.
fn format_fields(running: &Running, now: Instant, columns: usize, style: Style) -> String {
    let received = running.progress.received();
    let length = running.progress.length();
    let percent = match length {
        Some(length @ 1..) => format!("{}%", u128::from(received.min(length)) * 100 / u128::from(length)),
        Some(0) | None => String::new(),
    };
    let mut fields = format!("{percent:>PERCENT$}");
    let waited = now.saturating_duration_since(running.since);
    if length.is_none() && received == 0 {
        let width = full_width(columns);
        let text = format!("no response yet, {}", format_clock(waited));
        let text = if waited >= NO_RESPONSE && text.len() <= width { text } else { String::new() };
        return format!("{text:>width$}");
    }
    if columns >= 36 {
        let size = match length {
            Some(length) => format_amount(received, length, "/"),
            None => format_size(received),
        };
        fields += &format!(" {size:>SIZE$}");
    }
    if columns >= 52 {
        fields += &format!(" {:>SPEED$}", format_speed(running.speed.per_second()));
    }
    if columns >= 68 {
        let left = length.filter(|_| running.speed.per_second() > 0.0).and_then(|length| {
            Duration::try_from_secs_f64(length.saturating_sub(received) as f64 / running.speed.per_second()).ok()
        });
        let left = left.map(format_clock).unwrap_or_default();
        let connections = match running.progress.connections() {
            0 | 1 => String::new(),
            count => format!("{}{count}", style.times()),
        };
        fields += &format!(" {left:>TIME$} {connections:>CONNECTIONS$}");
    }
    fields
}

/// How wide the fields of a row are on a terminal of this width.
const fn full_width(columns: usize) -> usize {
    let mut width = PERCENT;
    if columns >= 36 {
        width += 1 + SIZE;
    }
    if columns >= 52 {
        width += 1 + SPEED;
    }
    if columns >= 68 {
        width += 2 + TIME + CONNECTIONS;
    }
    width
}

/// Formats what a download waits for. Where there is little room, the cause is cut, and the number of the attempt left
/// out.
fn format_wait(wait: &Wait, now: Instant, columns: usize, style: Style) -> String {
    let (attempt, most) = wait.attempt;
    let when = match wait.until.saturating_duration_since(now).as_secs_f64().ceil() as u64 {
        0 => "as soon as a connection is free".to_owned(),
        seconds @ ..100 => format!("again in {seconds} s"),
        seconds => format!("again in {}", format_clock(Duration::from_secs(seconds))),
    };
    let long = format!(", attempt {attempt} of {most}, {when}");
    let short = format!(", {when}");
    let fits = |rest: &str| measure_text_width(rest) + measure_text_width(&wait.why).min(MIN_CAUSE) <= columns;
    let rest = if fits(&long) { long } else { short };
    let why = fit_end(&wait.why, columns.saturating_sub(measure_text_width(&rest)).max(1), style);
    fit_end(&(why + &rest), columns, style)
}

/// Fits a text to a width: cuts its end, if it is too long.
fn fit_end(text: &str, width: usize, style: Style) -> String {
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    let ellipsis = style.ellipsis();
    match width.checked_sub(ellipsis.chars().count()) {
        Some(room) => first_columns(text, room) + ellipsis,
        None => first_columns(text, width),
    }
}

/// Fits a name to a width: pads it, or leaves out its middle, for names differ in their last characters.
fn fit_middle(text: &str, width: usize, style: Style) -> String {
    let own = measure_text_width(text);
    if own <= width {
        return format!("{text}{}", " ".repeat(width - own));
    }
    let ellipsis = style.ellipsis();
    let Some(room) = width.checked_sub(ellipsis.chars().count()) else { return first_columns(text, width) };
    let head = first_columns(text, room / 3);
    let reversed: String = text.chars().rev().collect();
    let tail: String = first_columns(&reversed, room - measure_text_width(&head)).chars().rev().collect();
    let fitted = format!("{head}{ellipsis}{tail}");
    let padding = width.saturating_sub(measure_text_width(&fitted));
    fitted + &" ".repeat(padding)
}

/// The start of a text that is at most so wide.
fn first_columns(text: &str, width: usize) -> String {
    let mut taken = String::new();
    for c in text.chars() {
        taken.push(c);
        if measure_text_width(&taken) > width {
            taken.pop();
            break;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::super::live::testing::live;
    use super::*;

    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;

    fn place(columns: usize, rows: usize) -> Place {
        let style = Style::unicode();
        Place { columns, rows, style }
    }

    fn shown(live: &Live, now: Instant, place: Place) -> String {
        let lines = format_run(live, now, place);
        assert!(lines.len() <= place.rows, "{lines:#?}");
        for line in &lines {
            assert!(measure_text_width(line) < place.columns, "{line:?}");
        }
        lines.iter().map(|line| format!("{}|\n", line.trim_end())).collect()
    }

    /// Four downloads: a large one over several connections, one whose length is unknown, one that has no response, and
    /// one that waits.
    fn four(now: Instant) -> Live {
        let mut live = live(34, 40, 40 * MIB);
        live.failed = 2;
        live.run("debian-12.7.0-amd64-netinst.iso", (312 * MIB, Some(633 * MIB)), 16, 21 * MIB);
        live.run("stream.json", (5 * MIB, None), 1, 640 * KIB);
        live.run("новости-за-неделю-и-ещё-что-то.tar.gz", (0, None), 0, 0);
        live.run("a-data-set-with-a-long-name-part-0017.parquet", (3 * MIB, Some(9 * MIB)), 0, 0);
        live.wait("503", now + Duration::from_secs(12), (4, 6));
        live.set_speed(22 * MIB);
        live
    }

    #[test]
    fn everything_is_told_where_there_is_room() {
        let now = Instant::now();
        insta::assert_snapshot!(shown(&four(now), now + Duration::from_secs(5), place(200, 24)), @"
        34/40 files · 2 failed · 1 waiting · 360.0 of at least 687.0 MiB · 22.0 MiB/s · 0:00 · at least 0:14 left|
          debian-12.7.0-amd64-netinst.iso               ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╸─────────────────────────────────────────────────────  49% 312.0/633.0 MiB  21.0 MiB/s    0:15 ×16|
          stream.json                                                                                                                                                           5.0 MiB 640.0 KiB/s|
          новости-за-неделю-и-ещё-что-то.tar.gz                                                                                                                                           no response yet, 0:04|
          a-data-set-with-a-long-name-part-0017.parquet  503, attempt 4 of 6, again in 7 s|
        ");
        insta::assert_snapshot!(shown(&four(now), now, place(80, 24)), @"
        34/40 files · 2 failed · 360.0 of 687.0 MiB+ · 22.0 MiB/s · 0:14+ left|
          debian…64-netinst.iso ━━━━╸─────  49% 312.0/633.0 MiB  21.0 MiB/s    0:15 ×16|
          stream.json                                   5.0 MiB 640.0 KiB/s|
          новост…-что-то.tar.gz|
          a-data-set-wi…long-name-part-0017.parquet  503, attempt 4 of 6, again in 12 s|
        ");
        insta::assert_snapshot!(shown(&four(now), now, place(44, 24)), @"
        34/40 files · 2 failed|
          debian…4-netinst.iso  49% 312.0/633.0 MiB|
          stream.json                       5.0 MiB|
          новост…что-то.tar.gz|
          a-data…t-0017.parquet  503, again in 12 s|
        ");
    }

    #[test]
    fn lines_fit_any_terminal() {
        let now = Instant::now();
        for columns in 1..120 {
            for rows in 1..8 {
                for style in [Style::PLAIN, Style::unicode()] {
                    let place = Place { columns: columns.max(12), rows, style };
                    shown(&four(now), now + Duration::from_secs(3), place);
                }
            }
        }
    }

    #[test]
    fn rows_that_have_no_room_are_counted_and_some_of_them_wait() {
        let now = Instant::now();
        let mut live = live(0, 100, 0);
        for number in 0..30 {
            live.run(&format!("file-{number}"), (MIB, Some(2 * MIB)), 1, MIB);
        }
        for number in 30..50 {
            live.run(&format!("file-{number}"), (MIB, Some(2 * MIB)), 0, 0);
            live.wait("503", now + Duration::from_secs(number), (2, 6));
        }
        insta::assert_snapshot!(shown(&live, now, place(60, 9)), @"
        0/100 files · 20 waiting · 50.0 of 100.0 MiB · 0 B/s · 0:00|
          file-0  ━━━━━━━━╸───────  50%     1.0/2.0 MiB   1.0 MiB/s|
          file-1  ━━━━━━━━╸───────  50%     1.0/2.0 MiB   1.0 MiB/s|
          file-2  ━━━━━━━━╸───────  50%     1.0/2.0 MiB   1.0 MiB/s|
          file-3  ━━━━━━━━╸───────  50%     1.0/2.0 MiB   1.0 MiB/s|
          file-4  ━━━━━━━━╸───────  50%     1.0/2.0 MiB   1.0 MiB/s|
          file-30  503, attempt 2 of 6, again in 30 s|
          file-31  503, attempt 2 of 6, again in 31 s|
          … and 43 more, 18 of them waiting|
        ");
    }

    #[test]
    fn what_is_not_known_is_said_to_be_more() {
        let now = Instant::now();
        let mut all_known = live(1, 2, MIB);
        all_known.run("x", (MIB, Some(3 * MIB)), 1, MIB);
        all_known.set_speed(MIB);
        let mut not_started = live(1, 3, MIB);
        not_started.run("x", (MIB, Some(3 * MIB)), 1, MIB);
        not_started.set_unknown(1);
        not_started.set_speed(MIB);
        let mut no_length = live(1, 2, MIB);
        no_length.run("x", (MIB, None), 1, MIB);
        no_length.set_speed(MIB);
        let line = |live: &Live| status_line(live, now, 100, Style::PLAIN);
        assert_eq!(line(&all_known), "1/2 files | 2.0 of 4.0 MiB | 1.0 MiB/s | 0:00 | about 0:02 left");
        assert_eq!(line(&not_started), "1/3 files | 2.0 of at least 4.0 MiB | 1.0 MiB/s | 0:00 | about 0:04 left");
        assert_eq!(line(&no_length), "1/2 files | 2.0 of at least 2.0 MiB | 1.0 MiB/s | 0:00");
    }

    #[test]
    fn before_the_list_has_ended_the_total_is_so_far_and_no_time_is_estimated() {
        let now = Instant::now();
        let mut live = live(1, 2, MIB);
        live.is_list_open = true;
        live.run("x", (MIB, Some(3 * MIB)), 1, MIB);
        live.set_speed(MIB);
        let line = |live: &Live| status_line(live, now, 100, Style::PLAIN);
        assert_eq!(line(&live), "1/2 files so far | 2.0 of at least 4.0 MiB | 1.0 MiB/s | 0:00");
        live.is_list_open = false;
        assert_eq!(line(&live), "1/2 files | 2.0 of 4.0 MiB | 1.0 MiB/s | 0:00 | about 0:02 left");
    }

    #[test]
    fn a_wait_that_is_over_is_for_a_connection() {
        let now = Instant::now();
        let mut live = live(0, 1, 0);
        live.run("x", (0, None), 0, 0);
        live.wait("429", now, (2, 6));
        let lines = format_run(&live, now, place(100, 5));
        assert!(lines[1].contains("429, attempt 2 of 6, as soon as a connection is free"), "{lines:?}");
    }

    #[test]
    fn a_held_host_is_named_and_its_downloads_wait_as_long() {
        let now = Instant::now();
        let mut live = live(0, 1, 0);
        live.run("x", (0, None), 0, 0);
        live.wait("503", now + Duration::from_secs(3), (2, 6));
        live.hold(now + Duration::from_secs(12));
        let lines = format_run(&live, now, place(100, 5));
        assert!(lines[0].contains("h:80 asks to wait 0:12"), "{lines:?}");
        assert!(lines[1].ends_with("503, attempt 2 of 6, again in 12 s"), "{lines:?}");
    }

    #[test]
    fn names_keep_their_ends() {
        assert_eq!(fit_middle("a-long-name.tar.gz", 12, Style::PLAIN), "a-l...tar.gz");
        assert_eq!(fit_middle("short", 8, Style::PLAIN), "short   ");
        // Wide characters take two columns each.
        assert_eq!(measure_text_width(&fit_middle("数据集数据集数据集.zip", 11, Style::PLAIN)), 11);
    }
}
