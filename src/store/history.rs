//! Whether this process keeps history, and from when on the history of the database is complete; what
//! the doctor learns about it.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use super::HistoryStats;
use crate::presence::Timestamp;

/// The history, with the spans that the cleanup should have removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InspectedHistory {
    /// The size and the age.
    pub stats: HistoryStats,
    /// The number of spans that ended before the time asked for, up to the maximum.
    pub old_spans: u64,
}

/// The time by which a replica without history moves the start of the complete history ahead of its
/// writes.
const AHEAD: Duration = Duration::from_mins(1);

/// Whether the stores of a database append spans to the history.
///
/// A replica without history leaves a gap. Before it writes, it moves the start of the complete
/// history behind its writes, so that no reader takes the history with the gap for complete.
#[derive(Debug)]
pub(super) struct HistoryMode {
    keeps: bool,
    appended: AtomicU64,
    /// The stored start of the complete history, as far as this replica moved it.
    start: AtomicI64,
}

impl HistoryMode {
    pub(super) const fn new(keeps: bool) -> Self {
        Self { keeps, appended: AtomicU64::new(0), start: AtomicI64::new(i64::MIN) }
    }

    /// Whether spans are appended.
    pub(super) const fn keeps(&self) -> bool {
        self.keeps
    }

    /// Counts appended spans.
    pub(super) fn count(&self, spans: u64) {
        self.appended.fetch_add(spans, Ordering::Relaxed);
    }

    /// The number of spans that the stores appended.
    pub(super) fn appended(&self) -> u64 {
        self.appended.load(Ordering::Relaxed)
    }

    /// Returns the start of the complete history that must be stored before a write at `now`.
    pub(super) fn start_before(&self, now: Timestamp) -> Option<Timestamp> {
        let stored = Timestamp::from_millis(self.start.load(Ordering::Acquire));
        (!self.keeps && stored <= now).then(|| now + AHEAD)
    }

    /// Notes that this start was stored.
    pub(super) fn stored(&self, start: Timestamp) {
        self.start.fetch_max(start.as_millis(), Ordering::AcqRel);
    }
}
