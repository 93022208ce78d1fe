//! Ending sessions.

use sqlx::Row as _;

use super::{
    common::{WriteTimer, not_retryable, notify_changed, positions},
    statement::Statements,
    timestamptz::Timestamptz,
};
use crate::{
    presence::Timestamp,
    store::{LATE_AFTER, SessionKey, StoreError, keys, rows::at_position},
};

/// Returns the sessions that were ended, and the live sessions that were skipped because they
/// were set after `latest` or are being set. The count of `notified` is selected because
/// PostgreSQL does not run a query that nothing references.
pub(super) const CLEAR_SESSIONS: &str = concat!(
    "
with target as materialized (
    select target.tenant_id, target.user_id, target.session_id, target.ordinal, at.now, at.latest
    from unnest($1::uuid[], $2::text[], $3::text[]) with ordinality as target (tenant_id, user_id, session_id, ordinal)
    cross join unnest($4::timestamptz[], $5::timestamptz[]) as at (now, latest)
), ended as (
    update presence_sessions as s
    set cleared_at = target.now
    from target
    where s.tenant_id = target.tenant_id
      and s.user_id = target.user_id
      and s.session_id = target.session_id
      and s.cleared_at is null
      and s.expires_at > target.now
      and s.set_at <= target.latest
    returning target.ordinal, s.tenant_id, s.user_id
), changed as (
    select tenant_id, user_id from ended
), notified as (",
    notify_changed!(),
    "
)
select array(select ordinal from ended),
       array(
           select target.ordinal
           from target
           join presence_sessions as s
             on s.tenant_id = target.tenant_id and s.user_id = target.user_id and s.session_id = target.session_id
           where s.cleared_at is null
             and s.expires_at > target.now
             and target.ordinal not in (select ordinal from ended)
       ),
       (select count(*) from notified)"
);

/// [`crate::store::Store::clear_sessions`].
pub(super) async fn clear_sessions(
    statements: &Statements,
    now: Timestamp,
    keys: &[SessionKey],
) -> Result<Vec<bool>, StoreError> {
    let (timer, distinct) = (WriteTimer::start(), keys::first_of_each(keys));
    let mut results = vec![false; keys.len()];
    let skipped = clear(statements, now, now + LATE_AFTER, &distinct, &mut results).await?;
    if !skipped.is_empty() {
        timer.check_not_late()?;
        clear(statements, now, Timestamp::LATEST, &skipped, &mut results).await.map_err(not_retryable)?;
    }
    Ok(results)
}

/// Ends sessions and sets their results. Returns the sessions that were skipped because they
/// were set after `latest`.
async fn clear<'a>(
    statements: &Statements,
    now: Timestamp,
    latest: Timestamp,
    keys: &[(&'a SessionKey, usize)],
    results: &mut [bool],
) -> Result<Vec<(&'a SessionKey, usize)>, StoreError> {
    let statement = sqlx::query(CLEAR_SESSIONS)
        .bind(keys.iter().map(|(key, _)| key.user.tenant_id).collect::<Vec<_>>())
        .bind(keys.iter().map(|(key, _)| key.user.user_id.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|(key, _)| key.session_id.as_str()).collect::<Vec<_>>())
        .bind(vec![Timestamptz(now)])
        .bind(vec![Timestamptz(latest)]);
    let result = statements.run("clear_sessions", statement).await?;
    let row = result.row()?;
    for index in positions(row.try_get(0)?) {
        *at_position(results, keys.get(index).map(|(_, position)| *position))? = true;
    }
    Ok(positions(row.try_get(1)?).into_iter().filter_map(|index| keys.get(index).copied()).collect())
}
