//! Extending sessions that somebody holds.

use std::collections::HashSet;

use sqlx::Row as _;

use super::{Statements, listener::tell_changed, places, sessions, timestamptz::Timestamptz};
use crate::{
    presence::Timestamp,
    store::{SetSession, StoreError, keys},
};

/// Decided on the locked row: whoever cleared the session, or set another pair,
/// has taken it from whoever holds it. What tells is read, or it would not run.
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
        as held (tenant_id, user_id, session_id, availability, activity, expires_at, place)
    cross join unnest($7::timestamptz[]) as at (now)
    where s.tenant_id = held.tenant_id
      and s.user_id = held.user_id
      and s.session_id = held.session_id
      and s.availability = held.availability
      and s.activity = held.activity
      and s.cleared_at is null
    returning held.place, s.tenant_id, s.user_id, s.changed_at >= s.set_at as changed
), changed as (
    select tenant_id, user_id from extended where changed
), told as (",
    tell_changed!(),
    "
)
select array(select place from extended), (select count(*) from told)"
);

/// [`crate::store::Store::extend_sessions`].
pub(super) async fn extend_sessions(
    statements: &Statements,
    now: Timestamp,
    held: &[SetSession],
) -> Result<Vec<bool>, StoreError> {
    let longest = keys::longest_of_each(held);
    let statement = sessions(EXTEND_SESSIONS, now, &longest).bind(vec![Timestamptz(now)]);
    let extended = places(statements.run("extend_sessions", statement).await?.row()?.try_get(0)?);
    let extended = extended.into_iter().filter_map(|place| longest.get(place));
    let extended: HashSet<_> = extended.map(|set| (&set.key, set.pair)).collect();
    Ok(held.iter().map(|set| extended.contains(&(&set.key, set.pair))).collect())
}
