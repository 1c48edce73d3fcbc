//! The `Retry-After` header (RFC 9110, section 10.2.3): seconds, or a date.

use std::time::{Duration, SystemTime};

/// Parses a header's value into a wait: zero for a date in the past, `None` if it is neither seconds nor a date.
///
/// A date is compared with the `Date` of the same response. Both come from the server's clock, so it does not matter
/// whether that clock or this machine's is wrong. Without a valid `Date`, it is compared with `now`.
#[must_use]
pub fn parse_retry_after(value: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // On overflow, saturate: nobody waits that long anyway.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let then = httpdate::parse_http_date(value).ok()?;
    let sent = date.and_then(|date| httpdate::parse_http_date(date.trim()).ok()).unwrap_or(now);
    Some(then.duration_since(sent).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_are_parsed_and_nothing_else() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (value, seconds) in [
            ("120", Some(120)),
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse_retry_after(value, None, now), seconds.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn a_date_is_compared_with_the_date_of_its_response() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let wait = |value, date| parse_retry_after(value, date, now).map(|wait| wait.as_secs());
        let (value, a_minute_before) = ("Thu, 01 Jan 2015 00:01:00 GMT", "Thu, 01 Jan 2015 00:00:00 GMT");
        assert_eq!(wait(value, Some(a_minute_before)), Some(60));
        assert_eq!(wait(a_minute_before, Some(value)), Some(0));
        for date in [None, Some("yesterday"), Some("")] {
            assert_eq!(wait("Sun, 06 Nov 1994 08:50:37 GMT", date), Some(60), "{date:?}");
        }
        assert_eq!(wait("120", Some(value)), Some(120));
    }

    proptest! {
        #[test]
        fn no_text_causes_a_panic(
            text in "(?s).{0,40}",
            date in proptest::option::of("(?s).{0,40}"),
            seconds in 0u64..4_000_000_000,
        ) {
            let _ = parse_retry_after(&text, date.as_deref(), SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        }
    }
}
