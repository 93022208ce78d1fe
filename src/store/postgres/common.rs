//! Parts that several statements share: parameters, notifications, and the check for late
//! writes.

use sqlx::{Postgres, postgres::PgArguments, query::Query};

use super::timestamptz::Timestamptz;
use crate::{
    clock::Stopwatch,
    presence::Timestamp,
    store::{LATE_AFTER, SetSession, StoreError},
};

/// The channel of [`notify_changed`]. A payload has one line `TENANT USER` for each user.
pub(super) const CHANNEL: &str = "presence_changes";

/// Notifies the replicas of the users in `changed` when the statement commits.
///
/// Each notification delays the commits of all other transactions. So one notification
/// names up to 40 users, which fit into the 8,000 bytes of a payload.
macro_rules! notify_changed {
    () => {
        "
select pg_notify('presence_changes', array_to_string(users[part * 40 + 1:part * 40 + 40], E'\\n'))
from (select array_agg(tenant_id || ' ' || user_id) as users from changed) as notified,
     generate_series(0, (cardinality(users) - 1) / 40) as part"
    };
}
pub(super) use notify_changed;

/// Returns a statement whose first parameters are the columns of the sessions.
pub(super) fn bind_sessions<'a>(
    sql: &'static str,
    now: Timestamp,
    sets: &[&'a SetSession],
) -> Query<'a, Postgres, PgArguments> {
    sqlx::query(sql)
        .bind(sets.iter().map(|set| set.key.user.tenant_id).collect::<Vec<_>>())
        .bind(sets.iter().map(|set| set.key.user.user_id.as_str()).collect::<Vec<_>>())
        .bind(sets.iter().map(|set| set.key.session_id.as_str()).collect::<Vec<_>>())
        .bind(sets.iter().map(|set| <&str>::from(set.pair.availability)).collect::<Vec<_>>())
        .bind(sets.iter().map(|set| <&str>::from(set.pair.activity)).collect::<Vec<_>>())
        .bind(sets.iter().map(|set| Timestamptz(now + set.expires_after)).collect::<Vec<_>>())
}

/// Converts ordinals, which count from 1, to positions, which count from 0.
pub(super) fn positions(ordinals: Vec<i64>) -> Vec<usize> {
    ordinals.into_iter().filter_map(|ordinal| usize::try_from(ordinal - 1).ok()).collect()
}

/// The time since a write began. It tells a late write from a clock that is behind.
pub(super) struct WriteTimer(Stopwatch);

impl WriteTimer {
    pub(super) fn start() -> Self {
        Self(Stopwatch::start())
    }

    /// Fails if the write is late. Otherwise the rows that it skipped may be written.
    pub(super) fn check_not_late(&self) -> Result<(), StoreError> {
        if self.0.elapsed() < LATE_AFTER {
            return Ok(());
        }
        Err(StoreError::Unavailable("the write was late and skipped newer rows".to_owned()))
    }
}

/// Converts an error of the second statement of a write. The first statement may have changed
/// rows, so the batcher must not retry both.
pub(super) fn not_retryable(error: StoreError) -> StoreError {
    match error {
        StoreError::Conflict(text) | StoreError::Data(text) => StoreError::Unavailable(text),
        unavailable @ StoreError::Unavailable(_) => unavailable,
    }
}
