//! The history: how long it is kept, its size, and whether the cleanup keeps up.

use std::time::Duration;

use jiff::SignedDuration;

use super::report::Finding;
use crate::{
    presence::Timestamp,
    settings::Settings,
    store::{HistoryStats, InspectedHistory, Schema},
};

const KIB: u64 = 1_024;
const MIB: u64 = 1_024 * KIB;

/// The time after which a span should have been removed. A cleanup starts every hour, and takes its
/// time.
const REMOVED_WITHIN: Duration = Duration::from_hours(24);

/// The number of old spans from which the doctor warns. Fewer are normal until the next cleanup: a write
/// may append the span of a preference or message that expired long ago.
pub(super) const OLD_SPANS: u32 = 1_000;

/// Whether this binary can read the history of a database with this schema.
pub(super) const fn is_readable(schema: &Schema) -> bool {
    matches!(schema, Schema::Same(_) | Schema::Newer { .. })
}

/// Spans that ended before this time are old. A write may append the span of a session that expired up to
/// the retention time ago.
pub(super) fn old_before(settings: &Settings, now: Timestamp) -> Timestamp {
    now - settings.history.max(settings.retention) - REMOVED_WITHIN
}

pub(super) fn check(settings: &Settings, history: InspectedHistory) -> Finding {
    let mode = if settings.history.is_zero() {
        "off (--history 0s)".to_owned()
    } else {
        format!("kept for {:#}", SignedDuration::try_from(settings.history).unwrap_or(SignedDuration::MAX))
    };
    let HistoryStats { bytes, oldest_ended_at } = history.stats;
    let Some(oldest) = oldest_ended_at else { return Finding::ok("history", format!("{mode}, empty")) };
    let detail = format!("{mode}; {}, the oldest span ended at {oldest}", size(bytes));
    if history.old_spans < OLD_SPANS.into() {
        return Finding::ok("history", detail);
    }
    Finding::warn(
        "history",
        format!("{detail}: the cleanup does not keep up"),
        "start the service, if it was stopped for long; if not, its log shows with --log debug why a cleanup failed",
    )
}

fn size(bytes: u64) -> String {
    if bytes < MIB { format!("{} KiB", bytes.div_ceil(KIB)) } else { format!("{} MiB", bytes / MIB) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_in_kib_or_mib() {
        for (bytes, text) in [(1, "1 KiB"), (MIB - 1, "1024 KiB"), (MIB, "1 MiB"), (5 * MIB / 2, "2 MiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
