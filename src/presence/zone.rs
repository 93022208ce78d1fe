//! Parsing of local times with time zones, as in Graph's `dateTimeTimeZone`.

use icu_time::zone::{WindowsParser, iana::IanaParserExtended};
use jiff::{fmt::temporal::Pieces, tz::TimeZone};

use super::Timestamp;

/// An invalid time or time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZonedTimeError {
    /// The text is not a date and time.
    #[error("not a date and time")]
    Time,
    /// The time has an offset that its time zone does not have then.
    #[error("not the offset of the time zone")]
    Offset,
    /// The time zone is unknown.
    #[error("not a time zone")]
    Zone,
}

/// Parses a date and time with an offset, such as `2026-11-22T17:30:00Z`. Rounds down to a
/// millisecond.
#[must_use]
pub fn parse_instant(time: &str) -> Option<Timestamp> {
    let micros = time.parse::<jiff::Timestamp>().ok()?.as_microsecond();
    Some(Timestamp::from_millis(micros.div_euclid(1_000)))
}

/// Parses a local time such as `2026-10-18T17:05:33.2079781` in a time zone with a Windows
/// name (`Pacific Standard Time`) or an IANA name (`America/Los_Angeles`); UTC if it is
/// missing. Graph: dateTimeTimeZone.
///
/// The time may have an offset (`2026-10-18T17:05:33+02:00`, `…Z`), as most languages write
/// it: then it is an instant, and the zone must be missing or have this offset.
///
/// An ambiguous time is the earlier instant. A skipped time moves forward by the gap. The
/// result is rounded down to a millisecond, and is at most [`Timestamp::LATEST`].
pub fn parse_zoned_time(time: &str, zone: Option<&str>) -> Result<Timestamp, ZonedTimeError> {
    let zone = zone.map(|name| time_zone(name).ok_or(ZonedTimeError::Zone)).transpose()?;
    let pieces = Pieces::parse(time).map_err(|_| ZonedTimeError::Time)?;
    let clock = pieces.time().filter(|_| pieces.time_zone_annotation().is_none());
    let local = pieces.date().to_datetime(clock.ok_or(ZonedTimeError::Time)?);
    let instant = match pieces.to_numeric_offset() {
        None => local.to_zoned(zone.unwrap_or(TimeZone::UTC)).map(|zoned| zoned.timestamp()),
        Some(offset) => {
            let instant = offset.to_timestamp(local);
            if let (Some(zone), Ok(instant)) = (&zone, &instant)
                && zone.to_offset(*instant) != offset
            {
                return Err(ZonedTimeError::Offset);
            }
            instant
        }
    };
    // Some clients send their last representable day for "never".
    let at = instant.map_or(Timestamp::LATEST, |instant| Timestamp::from_millis(instant.as_millisecond()));
    Ok(at.min(Timestamp::LATEST))
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

    fn read<'a>(time: &str, zone: impl Into<Option<&'a str>>) -> String {
        let zone = zone.into();
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
    fn a_time_with_an_offset_is_an_instant() {
        for (time, zone) in [
            // C#, Java, JavaScript, Go and PHP; Python; seven digits of .NET; PowerShell.
            ("2026-10-18T17:05:33.207Z", None),
            ("2026-10-18T17:05:33.207+00:00", None),
            ("2026-10-18T17:05:33.2079781Z", Some("UTC")),
            ("2026-10-18T19:05:33.2070000+02:00", None),
            ("2026-10-18T19:05:33.207+02:00", Some("Europe/Berlin")),
            ("2026-10-18T10:05:33.207-07:00", Some("Pacific Standard Time")),
            ("2026-10-18 17:05:33.207", None),
        ] {
            assert_eq!(read(time, zone), "2026-10-18T17:05:33.207Z", "{time} {zone:?}");
        }
        for (time, zone) in [
            ("2026-10-18T17:05:33Z", "Europe/Berlin"),
            // In summer, Berlin has two hours.
            ("2026-07-18T17:05:33+01:00", "Europe/Berlin"),
            ("2026-10-18T17:05:33+02:00", "UTC"),
        ] {
            assert_eq!(read(time, zone), "not the offset of the time zone", "{time} {zone}");
        }
        assert_eq!(read("9999-12-31T23:59:59.9999999Z", None), "9999-12-30T22:00:00.000Z");
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
            "2026-10-18Z",
            "2026-10-18T17:05:33[Europe/Berlin]",
            "2026-10-18T17:05:33+02:00[Europe/Berlin]",
            "2026-02-30T17:05:33",
            "99999-01-01T00:00:00",
            "2026-10-18T25:00:00",
        ] {
            assert_eq!(read(time, "UTC"), "not a date and time", "{time:?}");
        }
    }
}
