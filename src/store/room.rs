//! Making room for the sessions that a call opened.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use strum::EnumString;
use tracing::warn;

use super::{SessionKey, SessionRow};
use crate::telemetry::LogThrottle;

/// The time without an eviction after which the next one is logged at once.
const QUIET: Duration = Duration::from_mins(1);

/// What makes room for other sessions of the user: a value of `crowded_sessions.sql`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString)]
#[strum(serialize_all = "lowercase")]
pub(super) enum Action {
    /// Clear a live session: its application has too many.
    Evict,
    /// Clear a live session if the call opened it: the user has too many.
    Refuse,
    /// Remove an ended session.
    Remove,
}

/// The sessions for which there is no room.
#[derive(Debug, Default)]
pub(super) struct Crowded {
    /// Live sessions to clear.
    pub(super) live: Vec<SessionRow>,
    /// Ended sessions to remove.
    pub(super) ended: Vec<SessionRow>,
}

impl Crowded {
    /// Adds a session, unless it is a live one of another call.
    pub(super) fn add(&mut self, row: SessionRow, action: Action, opened: &HashSet<&SessionKey>) {
        match action {
            Action::Evict => self.live.push(row),
            Action::Refuse if opened.contains(&row.key) => self.live.push(row),
            Action::Refuse => {}
            Action::Remove => self.ended.push(row),
        }
    }
}

/// Counts and logs evictions.
#[derive(Debug)]
pub(super) struct Evictions {
    number: AtomicU64,
    throttle: LogThrottle,
}

impl Evictions {
    pub(super) const fn new() -> Self {
        Self { number: AtomicU64::new(0), throttle: LogThrottle::new(QUIET) }
    }

    /// Notes an evicted session. The log names the application, once a minute.
    pub(super) fn note(&self, key: &SessionKey) {
        self.number.fetch_add(1, Ordering::Relaxed);
        if self.throttle.fails() {
            warn!(
                tenant_id = %key.user.tenant_id,
                application = key.session_id.application(),
                "a live session was cleared, because its application or its user has too many; others may follow"
            );
        }
    }

    /// The number of evicted sessions.
    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }
}
