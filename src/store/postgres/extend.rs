//! Extending sessions that somebody holds.

use std::collections::HashSet;

use super::{Statements, listener::tell_changed, place_number, timestamptz::Timestamptz};
use crate::{
    presence::Timestamp,
    store::{SetSession, StoreError, keys, rows::Row as _},
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
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::int8[])
        as held (tenant_id, user_id, session_id, availability, activity, expires_at, place)
    cross join unnest($8::timestamptz[]) as at (now)
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
select place, (select count(*) from told)
from extended"
);

/// [`crate::store::Store::extend_sessions`].
pub(super) async fn extend_sessions(
    statements: &Statements,
    now: Timestamp,
    held: &[SetSession],
) -> Result<Vec<bool>, StoreError> {
    let longest = keys::longest_of_each(held);
    let statement = sqlx::query(EXTEND_SESSIONS)
        .bind(longest.iter().map(|set| set.key.user.tenant_id).collect::<Vec<_>>())
        .bind(longest.iter().map(|set| set.key.user.user_id.as_str()).collect::<Vec<_>>())
        .bind(longest.iter().map(|set| set.key.session_id.as_str()).collect::<Vec<_>>())
        .bind(longest.iter().map(|set| set.pair.availability.as_str()).collect::<Vec<_>>())
        .bind(longest.iter().map(|set| set.pair.activity.as_str()).collect::<Vec<_>>())
        .bind(longest.iter().map(|set| Timestamptz(now + set.expires_after)).collect::<Vec<_>>())
        .bind((0..longest.len()).map(place_number).collect::<Vec<_>>())
        .bind(vec![Timestamptz(now)]);
    let rows = statements.run("extend_sessions", statement).await?.rows;
    let places: Vec<i64> = rows.iter().map(|row| row.number(0)).collect::<Result<_, _>>()?;
    let extended = places.into_iter().filter_map(|place| longest.get(usize::try_from(place).ok()?));
    let extended: HashSet<_> = extended.map(|set| (&set.key, set.pair)).collect();
    Ok(held.iter().map(|set| extended.contains(&(&set.key, set.pair))).collect())
}
