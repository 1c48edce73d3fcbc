//! Parses the values of command-line options: sizes, durations, names and headers.

use std::num::NonZeroU16;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::options::Header;
use crate::plan::SafeName;
use crate::text::safe;

/// Parses a size such as `500k`, `20M` or `4GiB`: powers of 1000, or of 1024 with an `i`. A bare number means bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let invalid = || "expected a size such as 500k, 20M or 4GiB".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().trim_end_matches(['B', 'b']) {
        "" => 1,
        "k" | "K" => 1000,
        "M" | "m" => 1000_u64.pow(2),
        "G" | "g" => 1000_u64.pow(3),
        "Ki" => 1024,
        "Mi" => 1024_u64.pow(2),
        "Gi" => 1024_u64.pow(3),
        _ => return Err(invalid()),
    };
    let number: u64 = number.parse().map_err(|_| invalid())?;
    number.checked_mul(unit).ok_or_else(|| "too large".to_owned())
}

/// Parses a number from 1 to 65535.
pub fn parse_at_least_one(text: &str) -> Result<NonZeroU16, String> {
    text.parse().map_err(|_| "expected a whole number from 1 to 65535".to_owned())
}

/// Parses a number from 0.
pub fn parse_count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("expected a whole number from 0 to {}", u32::MAX))
}

/// Parses a duration such as `500ms`, `30s` or `5m`. A bare number means seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let duration = match seconds {
        Some(duration) => duration,
        None => {
            humantime::parse_duration(text).map_err(|_| "expected a duration such as 500ms, 30s or 5m".to_owned())?
        }
    };
    if duration.is_zero() {
        return Err("must be longer than zero".to_owned());
    }
    // Capped at 136 years, so that adding it to a time cannot overflow.
    Ok(duration.min(Duration::from_secs(u32::MAX.into())))
}

/// Parses the value of `-O`.
pub fn parse_name(name: &str) -> anyhow::Result<SafeName> {
    match SafeName::from_user(name) {
        Some(name) => Ok(name),
        None if name.contains(['/', '\\']) => {
            bail!("-O {name:?}: a name cannot contain a directory; use -o DIR for that")
        }
        None => bail!("-O {name:?}: not a valid file name on all platforms"),
    }
}

/// Parses the values of `-H`. A value `@FILE` stands for the headers in that file, one per line.
pub fn parse_headers(values: &[String]) -> anyhow::Result<Vec<Header>> {
    let mut headers = Vec::new();
    for value in values {
        match value.strip_prefix('@') {
            None => headers.push(Header::parse(value).with_context(|| format!("-H {:?}", redact_header(value)))?),
            Some(file) => {
                let name = safe(file);
                let text = std::fs::read_to_string(file).with_context(|| format!("{name}: cannot read the headers"))?;
                for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                    headers.push(Header::parse(line).with_context(|| format!("{name}:{}", index + 1))?);
                }
            }
        }
    }
    Ok(headers)
}

/// Returns the part of a header that is safe to show: its name. The value may be a secret.
fn redact_header(header: &str) -> &str {
    header.split_once(':').map_or("...", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_sizes_and_durations() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("500", Some(500)),
            ("500k", Some(500_000)),
            ("20M", Some(20_000_000)),
            ("4GiB", Some(4 << 30)),
            ("4 KiB", Some(4096)),
            ("1.5M", None),
            ("M", None),
            ("", None),
            ("99999999999G", None),
        ] {
            assert_eq!(parse_size(text).ok(), bytes, "{text}");
        }
        for (text, milliseconds) in [
            ("500ms", Some(500)),
            ("2", Some(2000)),
            ("1.5", Some(1500)),
            ("5m", Some(300_000)),
            ("0s", None),
            ("x", None),
        ] {
            assert_eq!(parse_duration(text).ok(), milliseconds.map(Duration::from_millis), "{text}");
        }
    }
}
