//! Formats sizes, speeds, times and counts for people.

use std::time::Duration;

/// Formats a size in powers of 1024, such as `148.0 MiB`, or in plain bytes below 1 KiB.
pub fn format_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // In tenths, and in integers: a number is formatted several times faster than a fraction.
    let tenths = |unit: u32| {
        let divisor = 1u128 << (10 * unit);
        (u128::from(bytes) * 10 + divisor / 2) / divisor
    };
    // What would be rounded to 1024.0 belongs to the next unit.
    let unit = (1..5).find(|unit| tenths(*unit) < 10240).unwrap_or(5);
    let value = tenths(unit);
    format!("{}.{} {}", value / 10, value % 10, UNITS[unit as usize - 1])
}

/// Formats a part of a size with the whole, as in `57.2 of 98.1 MiB`: `between` is what stands between the numbers.
pub fn format_amount(part: u64, whole: u64, between: &str) -> String {
    let (part, whole) = (format_size(part), format_size(whole));
    match (part.split_once(' '), whole.split_once(' ')) {
        (Some((number, unit)), Some((_, same))) if unit == same => format!("{number}{between}{whole}"),
        _ => format!("{part}{between}{whole}"),
    }
}

/// Formats a speed in bytes per second.
pub fn format_speed(per_second: f64) -> String {
    format!("{}/s", format_size(per_second as u64))
}

/// Formats the mean speed of bytes that took some time.
pub fn format_mean_speed(bytes: u64, time: Duration) -> String {
    format_speed(if time.is_zero() { 0.0 } else { bytes as f64 / time.as_secs_f64() })
}

/// Formats a time as a clock does, in whole seconds: `0:36`, `1:02:03`.
pub fn format_clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// Formats a time in hundredths of a second, or, from 100 seconds on, in hours, minutes and seconds.
pub fn format_time(time: Duration) -> String {
    if time < Duration::from_secs(100) {
        let hundredths = (time.as_millis() + 5) / 10;
        return format!("{}.{:02} s", hundredths / 100, hundredths % 100);
    }
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

/// Formats a count with its noun: `1 file`, `2 files`.
pub fn format_count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_sizes_times_speeds_and_counts() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (64 * 1024, "64.0 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (155_189_248, "148.0 MiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(format_size(bytes), text);
        }
        for (milliseconds, text) in [(0, "0.00 s"), (2_414, "2.41 s"), (99_000, "99.00 s"), (3_750_500, "1h 2m 30s")] {
            assert_eq!(format_time(Duration::from_millis(milliseconds)), text);
        }
        assert_eq!(format_mean_speed(3 * 1024 * 1024, Duration::from_secs(2)), "1.5 MiB/s");
        assert_eq!(format_mean_speed(1, Duration::ZERO), "0 B/s");
        assert_eq!(format_amount(1536, 3 * 1024, " of "), "1.5 of 3.0 KiB");
        assert_eq!(format_amount(15, 3 * 1024, "/"), "15 B/3.0 KiB");
        for (seconds, clock) in [(0, "0:00"), (36, "0:36"), (754, "12:34"), (3723, "1:02:03")] {
            assert_eq!(format_clock(Duration::from_secs(seconds)), clock);
        }
        assert_eq!((format_count(1, "file"), format_count(0, "file")), ("1 file".to_owned(), "0 files".to_owned()));
    }
}
