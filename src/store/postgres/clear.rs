//! Ending sessions.

use sqlx::Row as _;

use super::{
    Begun, LATE_AFTER, Statements, halfway, listener::tell_changed, places, timestamptz::Timestamptz,
};
use crate::{
    presence::Timestamp,
    store::{SessionKey, StoreError, keys, rows::at_place},
};

/// What is live and was left alone, because it was set after `latest` or is being set,
/// comes back beside what was ended. What tells is read, or it would not run.
pub(super) const CLEAR_SESSIONS: &str = concat!(
    "
with gone as materialized (
    select gone.tenant_id, gone.user_id, gone.session_id, gone.place, at.now, at.latest
    from unnest($1::uuid[], $2::text[], $3::text[]) with ordinality as gone (tenant_id, user_id, session_id, place)
    cross join unnest($4::timestamptz[], $5::timestamptz[]) as at (now, latest)
), ended as (
    update presence_sessions as s
    set cleared_at = gone.now
    from gone
    where s.tenant_id = gone.tenant_id
      and s.user_id = gone.user_id
      and s.session_id = gone.session_id
      and s.cleared_at is null
      and s.expires_at > gone.now
      and s.set_at <= gone.latest
    returning gone.place, s.tenant_id, s.user_id
), changed as (
    select tenant_id, user_id from ended
), told as (",
    tell_changed!(),
    "
)
select array(select place from ended),
       array(
           select gone.place
           from gone
           join presence_sessions as s
             on s.tenant_id = gone.tenant_id and s.user_id = gone.user_id and s.session_id = gone.session_id
           where s.cleared_at is null
             and s.expires_at > gone.now
             and gone.place not in (select place from ended)
       ),
       (select count(*) from told)"
);

/// [`crate::store::Store::clear_sessions`].
pub(super) async fn clear_sessions(
    statements: &Statements,
    now: Timestamp,
    keys: &[SessionKey],
) -> Result<Vec<bool>, StoreError> {
    let (begun, distinct) = (Begun::now(), keys::first_of_each(keys));
    let mut answers = vec![false; keys.len()];
    let left = clear(statements, now, now + LATE_AFTER, &distinct, &mut answers).await?;
    if !left.is_empty() {
        begun.may_go_on()?;
        clear(statements, now, Timestamp::LATEST, &left, &mut answers).await.map_err(halfway)?;
    }
    Ok(answers)
}

/// Clears, and notes what was ended; what was left, because it was set after `latest`.
async fn clear<'a>(
    statements: &Statements,
    now: Timestamp,
    latest: Timestamp,
    keys: &[(&'a SessionKey, usize)],
    answers: &mut [bool],
) -> Result<Vec<(&'a SessionKey, usize)>, StoreError> {
    let statement = sqlx::query(CLEAR_SESSIONS)
        .bind(keys.iter().map(|(key, _)| key.user.tenant_id).collect::<Vec<_>>())
        .bind(keys.iter().map(|(key, _)| key.user.user_id.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|(key, _)| key.session_id.as_str()).collect::<Vec<_>>())
        .bind(vec![Timestamptz(now)])
        .bind(vec![Timestamptz(latest)]);
    let done = statements.run("clear_sessions", statement).await?;
    let row = done.row()?;
    for place in places(row.try_get(0)?) {
        *at_place(answers, keys.get(place).map(|(_, place)| *place))? = true;
    }
    Ok(places(row.try_get(1)?).into_iter().filter_map(|place| keys.get(place).copied()).collect())
}
