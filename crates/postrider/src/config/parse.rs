//! Readers for values that more than one setting takes.

use std::time::Duration;

/// What is in range, the setting's form says.
const OUT_OF_RANGE: &str = "is out of range";

/// A number of seconds, or a number with a unit such as `90s`, `15m` or `2h 30m`.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| "is not a length of time");
    }
    humantime::parse_duration(text).map_err(|_| "is not a length of time")
}

pub(super) fn duration_within(
    text: &str,
    least: Duration,
    most: Duration,
) -> Result<Duration, &'static str> {
    let found = duration(text)?;
    if (least..=most).contains(&found) {
        Ok(found)
    } else {
        Err(OUT_OF_RANGE)
    }
}

pub(super) fn number_within(text: &str, least: usize, most: usize) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        Ok(_) => Err(OUT_OF_RANGE),
        Err(_) => Err("is not a whole number"),
    }
}

/// A number of bytes, or of KiB, MiB or GiB.
pub(super) fn bytes_within(text: &str, least: usize, most: usize) -> Result<usize, &'static str> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match text[digits.len()..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("is not a number of bytes"),
    };
    let bytes = digits
        .parse()
        .ok()
        .and_then(|number: usize| number.checked_mul(factor));
    match bytes {
        Some(bytes) if (least..=most).contains(&bytes) => Ok(bytes),
        Some(_) => Err(OUT_OF_RANGE),
        None => Err("is not a number of bytes"),
    }
}

pub(super) fn boolean(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("is neither true nor false"),
    }
}

/// What stands between commas; empty parts do not count.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_have_a_unit() {
        assert_eq!(duration("15"), Ok(Duration::from_secs(15)));
        assert_eq!(duration("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h 30m"), Ok(Duration::from_secs(9_000)));
        assert_eq!(duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
        for bad in ["", "-1", "NaN", "inf", "1e300", "soon", "5 apples"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        let read = |text| bytes_within(text, 1, usize::MAX);
        assert_eq!(read("1048576"), Ok(1_048_576));
        assert_eq!(read("1MiB"), Ok(1_048_576));
        assert_eq!(read("2 KiB"), Ok(2_048));
        for bad in ["", "MiB", "1MB", "-1", "0", "18446744073709551615GiB"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
