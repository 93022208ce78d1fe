//! Parsing of durations.

use std::time::Duration;

use jiff::{SpanRelativeTo, fmt::temporal::SpanParser};

static ISO_8601: SpanParser = SpanParser::new();

/// The text is not a duration of a fixed, non-negative length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration")]
pub struct DurationError;

/// Parses a duration: ISO 8601 (`PT1H30M`, `P1D`), the two forms in which Graph's official
/// Python SDK sends a `timedelta` (`1:00:00`, `1 day, 0:00:00`), or that in which .NET writes
/// a `TimeSpan` (`1.02:00:00.5000000`).
///
/// A day has 24 hours and a week 7 days. Years and months have no fixed length and are
/// refused, as are negative durations.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    match text.bytes().next() {
        Some(first) if first.is_ascii_digit() => parse_clock(text).ok_or(DurationError),
        _ => {
            let span = ISO_8601.parse_span(text).map_err(|_| DurationError)?;
            let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| DurationError)?;
            length.try_into().map_err(|_| DurationError)
        }
    }
}

/// Parses Python's `str(timedelta)`, `[D day[s], ]H:MM:SS[.ffffff]`, and .NET's
/// `TimeSpan.ToString()`, `[D.]HH:MM:SS[.fffffff]`.
fn parse_clock(text: &str) -> Option<Duration> {
    let [hours, minutes, seconds] = text.split(':').collect::<Vec<_>>().try_into().ok()?;
    let (days, hours) = match (hours.split_once(", "), hours.split_once('.')) {
        (Some((days, hours)), _) => (days.strip_suffix(" days").or(days.strip_suffix(" day"))?, hours),
        (None, Some(parts)) => parts,
        (None, None) => ("0", hours),
    };
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let fraction = digits(fraction, 9).map(|_| format!("{fraction:0<9}"))?;
    let (days, hours) = (digits(days, 9)?, digits(hours, 2)?);
    let (minutes, seconds) = (two_digits(minutes)?, two_digits(seconds)?);
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let seconds = ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
    Some(Duration::new(seconds, fraction.parse().ok()?))
}

/// Parses a decimal number of 1 to `max` digits.
fn digits(text: &str, max: usize) -> Option<u64> {
    let valid = (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if valid { text.parse().ok() } else { None }
}

fn two_digits(text: &str) -> Option<u64> {
    digits(text, 2).filter(|_| text.len() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_iso_8601_as_the_sdks_write_it() {
        for (text, seconds) in [
            ("PT5M", 300),
            ("PT1H", 3_600),
            ("PT90M", 5_400),
            ("PT1H30M", 5_400),
            ("PT24H", 86_400),
            ("P1D", 86_400),
            ("P1DT2H", 93_600),
            ("P1W", 604_800),
            ("pt5m", 300),
            ("PT0S", 0),
            ("PT0.5H", 1_800),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("PT5M0.25S"), Ok(Duration::from_millis(300_250)));
    }

    #[test]
    fn parses_pythons_timedelta() {
        for (text, seconds) in
            [("0:05:00", 300), ("1:00:00", 3_600), ("1 day, 0:00:00", 86_400), ("2 days, 23:59:59", 259_199)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("0:05:00.500000"), Ok(Duration::from_millis(300_500)));
    }

    #[test]
    fn parses_nets_timespan() {
        for (text, millis) in [
            ("00:05:00", 300_000),
            ("00:30:01.2345678", 1_801_234),
            ("0.01:00:00", 3_600_000),
            ("1.02:00:00.5000000", 93_600_500),
        ] {
            assert_eq!(parse_duration(text).map(|length| length.as_millis()), Ok(millis), "{text}");
        }
    }

    #[test]
    fn refuses_other_texts() {
        for text in [
            "",
            "soon",
            "5",
            "PT",
            "P",
            "P1M",
            "P1Y",
            "-PT5M",
            "-1 day, 23:00:00",
            "1:00",
            "1:0:00",
            "24:00:00",
            "0:60:00",
            "1 day 0:00:00",
            "1 month, 0:00:00",
            "PT5M ",
            " PT5M",
            "5 minutes",
            "0:05:00.",
            "0:05:00.+5",
            ".01:00:00",
            "1.2.01:00:00",
            "1 day, 1.00:00:00",
            "PT1000000000000000000000000000000S",
            "1000000000000000000000000000000:00:00",
            "PT5M\0",
            "٥:00:00",
            "9999999999 days, 0:00:00",
            "P99999999999D",
        ] {
            assert_eq!(parse_duration(text), Err(DurationError), "{text:?}");
        }
    }
}
