//! Opening and refreshing sessions.

use sqlx::Sqlite;

use super::common::sessions;
use crate::{
    presence::Timestamp,
    store::{
        SetSession, StoreError,
        connection::{ConnectionPool, with_timeout},
        invalidation::{Notifier, parse_user},
        keys,
    },
};

/// The 5 minutes are [`crate::presence::INACTIVE_AFTER`], and the contract of `changed_at` is
/// in [`crate::store::Store::set_sessions`]. Without `where true`, SQLite would parse `on
/// conflict` as the `on` of a join.
macro_rules! set_sessions {
    () => {
        "
insert into presence_sessions as s
    (tenant_id, user_id, session_id, availability, activity, set_at, changed_at, expires_at)
select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 5, value ->> 6
from json_each(?1)
where true
on conflict (tenant_id, user_id, session_id) do update set
    availability = excluded.availability,
    activity     = excluded.activity,
    set_at       = excluded.set_at,
    expires_at   = excluded.expires_at,
    cleared_at   = null,
    changed_at   = case
        when s.availability <> excluded.availability
          or s.activity <> excluded.activity
          or s.cleared_at is not null
          or s.expires_at <= excluded.set_at
          or (s.availability = 'Available' and s.set_at + 5 * 60 * 1000 <= excluded.set_at)
          or excluded.expires_at < s.expires_at
        then max(excluded.changed_at, s.changed_at + 1)
        else s.changed_at
    end"
    };
}
pub(super) const SET_SESSIONS: &str = set_sessions!();

/// Like [`SET_SESSIONS`], and returns the users to notify. Used only while invalidations are
/// on, because it returns a row for each session.
pub(super) const SET_RETURNING_CHANGED: &str = concat!(
    set_sessions!(),
    "
returning case when changed_at >= set_at then tenant_id || ' ' || user_id end"
);

/// [`crate::store::Store::set_sessions`].
pub(super) async fn set_sessions(
    writer: &ConnectionPool<Sqlite>,
    notifier: &Notifier,
    now: Timestamp,
    sets: &[SetSession],
) -> Result<(), StoreError> {
    let sets = keys::last_of_each(sets);
    let mut connection = writer.acquire().await?;
    let was_on = notifier.is_on();
    let statement = sqlx::query_scalar(if was_on { SET_RETURNING_CHANGED } else { SET_SESSIONS });
    let outcome = with_timeout(statement.bind(sessions(now, &sets)?).fetch_all(&mut *connection)).await;
    let changed: Result<Vec<Option<String>>, _> = writer.release(connection, "set_sessions", outcome);
    notifier.notify(|| match &changed {
        Ok(changed) if was_on => changed.iter().flatten().filter_map(|user| parse_user(user)).collect(),
        // Invalidations were turned on meanwhile, or the failed statement may still have been
        // applied.
        _ => sets.iter().map(|set| set.key.user.clone()).collect(),
    });
    changed.map(drop)
}
