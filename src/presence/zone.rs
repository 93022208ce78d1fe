//! Local times and time zones, as Graph's `dateTimeTimeZone` writes them.

use icu_time::zone::{WindowsParser, iana::IanaParserExtended};
use jiff::{civil::DateTime, tz::TimeZone};

use super::Timestamp;

/// What is wrong with a time in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZonedTimeError {
    /// The time is none, or has an offset of its own.
    #[error("not a local date and time")]
    Time,
    /// There is no such zone.
    #[error("not a time zone")]
    Zone,
}

/// Reads a local time such as `2026-10-18T17:05:33.2079781`, in a time zone
/// named as Windows does (`Pacific Standard Time`) or as IANA does
/// (`America/Los_Angeles`). Graph: dateTimeTimeZone.
///
/// A time that a zone has twice is the earlier one; one that it skips is moved
/// by what was skipped. What is below a millisecond is dropped. A time beyond
/// [`Timestamp::LATEST`] is that instant.
pub fn parse_zoned_time(time: &str, zone: &str) -> Result<Timestamp, ZonedTimeError> {
    let zone = time_zone(zone).ok_or(ZonedTimeError::Zone)?;
    // jiff would read the time in front of an offset, and drop the offset.
    let (_, clock) = time.split_once(['T', 't']).ok_or(ZonedTimeError::Time)?;
    if clock.contains(['Z', 'z', '+', '-', '[']) {
        return Err(ZonedTimeError::Time);
    }
    let local: DateTime = time.parse().map_err(|_| ZonedTimeError::Time)?;
    // Some clients send the last day that they know of for "never".
    let instant = local.to_zoned(zone).map(|zoned| zoned.timestamp().as_millisecond());
    Ok(instant.map_or(Timestamp::LATEST, Timestamp::from_millis).min(Timestamp::LATEST))
}

/// By its IANA name in any case, or its Windows name, for which CLDR names the
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
    fn a_time_that_is_skipped_or_comes_twice_is_still_one_instant() {
        assert_eq!(read("2026-03-29T02:30:00", "Europe/Berlin"), "2026-03-29T01:30:00.000Z");
        assert_eq!(read("2026-10-25T02:30:00", "Europe/Berlin"), "2026-10-25T00:30:00.000Z");
    }

    #[test]
    fn the_last_day_of_all_is_a_time() {
        for zone in ["UTC", "Pacific Standard Time"] {
            assert_eq!(read("9999-12-31T23:59:59.9999999", zone), "9999-12-30T22:00:00.000Z");
        }
    }

    #[test]
    fn refuses_what_is_neither_time_nor_zone() {
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
