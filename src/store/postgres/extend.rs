//! Extending held sessions.

use std::collections::HashSet;

use sqlx::Row as _;

use super::{
    common::{bind_sessions, notify_changed, positions},
    statement::Statements,
    timestamptz::Timestamptz,
};
use crate::{
    presence::Timestamp,
    store::{SetSession, StoreError, keys},
};

/// Another caller that clears the session or sets another pair ends the hold. The conditions
/// apply to the locked row, so no race is possible. The count of `notified` is selected
/// because PostgreSQL does not run a query that nothing references.
pub(super) const EXTEND_SESSIONS: &str = concat!(
    "
with extended as (
    update presence_sessions as s
    set set_at     = greatest(s.set_at, at.now),
        expires_at = greatest(s.expires_at, held.expires_at),
        changed_at = case
            when s.expires_at <= at.now
              or (s.availability = 'Available' and s.set_at + interval '5 minutes' <= at.now)
            then greatest(at.now, s.changed_at + interval '1 millisecond')
            else s.changed_at
        end
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[]) with ordinality
        as held (tenant_id, user_id, session_id, availability, activity, expires_at, ordinal)
    cross join unnest($7::timestamptz[]) as at (now)
    where s.tenant_id = held.tenant_id
      and s.user_id = held.user_id
      and s.session_id = held.session_id
      and s.availability = held.availability
      and s.activity = held.activity
      and s.cleared_at is null
    returning held.ordinal, s.tenant_id, s.user_id, s.changed_at >= s.set_at as changed
), changed as (
    select tenant_id, user_id from extended where changed
), notified as (",
    notify_changed!(),
    "
)
select array(select ordinal from extended), (select count(*) from notified)"
);

/// [`crate::store::Store::extend_sessions`].
pub(super) async fn extend_sessions(
    statements: &Statements,
    now: Timestamp,
    held: &[SetSession],
) -> Result<Vec<bool>, StoreError> {
    let longest = keys::longest_of_each(held);
    let statement = bind_sessions(EXTEND_SESSIONS, now, &longest).bind(vec![Timestamptz(now)]);
    let extended = positions(statements.run("extend_sessions", statement).await?.row()?.try_get(0)?);
    let extended = extended.into_iter().filter_map(|position| longest.get(position));
    let extended: HashSet<_> = extended.map(|set| (&set.key, set.pair)).collect();
    Ok(held.iter().map(|set| extended.contains(&(&set.key, set.pair))).collect())
}
