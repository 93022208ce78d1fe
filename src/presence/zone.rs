//! Parsing of local times with time zones, as in Graph's `dateTimeTimeZone`.

use icu_time::zone::{WindowsParser, iana::IanaParserExtended};
use jiff::{civil::DateTime, tz::TimeZone};

use super::Timestamp;

/// An invalid time or time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZonedTimeError {
    /// The text is not a date and time, or has an offset.
    #[error("not a local date and time")]
    Time,
    /// The time zone is unknown.
    #[error("not a time zone")]
    Zone,
}

/// Parses a local time such as `2026-10-18T17:05:33.2079781` in a time zone with a Windows
/// name (`Pacific Standard Time`) or an IANA name (`America/Los_Angeles`). Graph:
/// dateTimeTimeZone.
///
/// An ambiguous time is the earlier instant. A skipped time moves forward by the gap. The
/// result is rounded down to a millisecond, and is at most [`Timestamp::LATEST`].
pub fn parse_zoned_time(time: &str, zone: &str) -> Result<Timestamp, ZonedTimeError> {
    let zone = time_zone(zone).ok_or(ZonedTimeError::Zone)?;
    // jiff would parse the time and ignore the offset.
    let (_, clock) = time.split_once(['T', 't']).ok_or(ZonedTimeError::Time)?;
    if clock.contains(['Z', 'z', '+', '-', '[']) {
        return Err(ZonedTimeError::Time);
    }
    let local: DateTime = time.parse().map_err(|_| ZonedTimeError::Time)?;
    // Some clients send their last representable day for "never".
    let instant = local.to_zoned(zone).map(|zoned| zoned.timestamp().as_millisecond());
    Ok(instant.map_or(Timestamp::LATEST, Timestamp::from_millis).min(Timestamp::LATEST))
}

/// Finds a zone by its IANA name in any case, or by its Windows name, which CLDR maps to an
/// IANA zone.
fn time_zone(name: &str) -> Option<TimeZone> {
    let windows = || {
        let zone = WindowsParser::new().parse(name, None)?;
        let iana = IanaParserExtended::new().iter().find(|entry| entry.time_zone == zone)?;
        TimeZone::get(iana.canonical).ok()
    };
    TimeZone::get(name).ok().filter(|zone| !zone.is_unknown()).or_else(windows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(time: &str, zone: &str) -> String {
        parse_zoned_time(time, zone).map_or_else(|error| error.to_string(), |at| at.to_string())
    }

    #[test]
    fn reads_windows_and_iana_names() {
        for (zone, expected) in [
            ("Pacific Standard Time", "2026-10-19T00:05:33.207Z"),
            ("America/Los_Angeles", "2026-10-19T00:05:33.207Z"),
            ("W. Europe Standard Time", "2026-10-18T15:05:33.207Z"),
            ("Europe/Berlin", "2026-10-18T15:05:33.207Z"),
            ("europe/berlin", "2026-10-18T15:05:33.207Z"),
            ("India Standard Time", "2026-10-18T11:35:33.207Z"),
            ("UTC", "2026-10-18T17:05:33.207Z"),
            ("Etc/UTC", "2026-10-18T17:05:33.207Z"),
            ("UTC-11", "2026-10-19T04:05:33.207Z"),
        ] {
            assert_eq!(read("2026-10-18T17:05:33.2079781", zone), expected, "{zone}");
        }
        assert_eq!(read("2026-10-18T17:05", "UTC"), "2026-10-18T17:05:00.000Z");
    }

    #[test]
    fn a_skipped_or_ambiguous_time_is_one_instant() {
        assert_eq!(read("2026-03-29T02:30:00", "Europe/Berlin"), "2026-03-29T01:30:00.000Z");
        assert_eq!(read("2026-10-25T02:30:00", "Europe/Berlin"), "2026-10-25T00:30:00.000Z");
    }

    #[test]
    fn the_last_representable_day_is_a_time() {
        for zone in ["UTC", "Pacific Standard Time"] {
            assert_eq!(read("9999-12-31T23:59:59.9999999", zone), "9999-12-30T22:00:00.000Z");
        }
    }

    #[test]
    fn refuses_invalid_times_and_zones() {
        for zone in ["", "Nowhere", "Mars/Olympus", "Etc/Unknown", "+02:00", "Pacific Standard Time\0"] {
            assert_eq!(read("2026-10-18T17:05:33", zone), "not a time zone", "{zone:?}");
        }
        for time in [
            "",
            "soon",
            "2026-10-18",
            "17:05:33",
            "2026-10-18T17:05:33Z",
            "2026-10-18T17:05:33+02:00",
            "2026-10-18T17:05:33[Europe/Berlin]",
            "2026-02-30T17:05:33",
            "99999-01-01T00:00:00",
            "2026-10-18T25:00:00",
        ] {
            assert_eq!(read(time, "UTC"), "not a local date and time", "{time:?}");
        }
    }
}
