//! `Retry-After` (RFC 9110, section 10.2.3): a number of seconds, or a date in any of HTTP's three forms.

use std::time::{Duration, UNIX_EPOCH};

use crate::time::Timestamp;

/// A subscriber may put its next attempt off by at most this.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How long to wait from `now` on; capped at [`MAX_RETRY_AFTER`]. Nonsense and dates of the past are `None`.
#[must_use]
pub fn parse(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        // More digits than a u64 holds still mean "very long".
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        let millis = date.duration_since(UNIX_EPOCH).ok()?.as_millis();
        Timestamp::from_millis(i64::try_from(millis).ok()?).since(now)
    };
    (!wait.is_zero()).then_some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(784_111_777_000);

    #[test]
    fn reads_seconds_and_all_three_date_forms() {
        assert_eq!(parse(" 120 ", NOW), Some(Duration::from_secs(120)));
        let in_a_minute = Some(Duration::from_secs(60));
        assert_eq!(parse("Sun, 06 Nov 1994 08:50:37 GMT", NOW), in_a_minute);
        assert_eq!(parse("Sunday, 06-Nov-94 08:50:37 GMT", NOW), in_a_minute);
        assert_eq!(parse("Sun Nov  6 08:50:37 1994", NOW), in_a_minute);
    }

    #[test]
    fn caps_what_is_too_long_and_ignores_nonsense() {
        assert_eq!(
            parse("999999999999999999999999", NOW),
            Some(MAX_RETRY_AFTER)
        );
        assert_eq!(
            parse("Sat, 06 Nov 2094 08:50:37 GMT", NOW),
            Some(MAX_RETRY_AFTER)
        );
        for nonsense in [
            "",
            "0",
            "-5",
            "1.5",
            "soon",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Fri, 01 Jan 1960 00:00:00 GMT",
        ] {
            assert_eq!(parse(nonsense, NOW), None, "{nonsense:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_never_exceeds_the_cap(value in ".{0,60}", now in any::<i64>()) {
            let wait = parse(&value, Timestamp::from_millis(now));
            prop_assert!(wait.is_none_or(|wait| wait <= MAX_RETRY_AFTER));
        }
    }
}
