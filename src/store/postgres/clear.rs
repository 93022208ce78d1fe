//! Ending sessions.

use sqlx::Row as _;

use super::{LATE, Statements, listener::tell_changed, places, timestamptz::Timestamptz};
use crate::{
    presence::Timestamp,
    store::{SessionKey, StoreError, keys, rows::at_place},
};

/// What is there and was left alone, because it was set after `latest`, comes back
/// beside what was ended. What tells is read, or it would not run.
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
           where s.set_at > gone.latest and s.cleared_at is null
       ),
       (select count(*) from told)"
);

/// [`crate::store::Store::clear_sessions`].
pub(super) async fn clear_sessions(
    statements: &Statements,
    now: Timestamp,
    keys: &[SessionKey],
) -> Result<Vec<bool>, StoreError> {
    let mut answers = vec![false; keys.len()];
    let mut distinct = keys::first_of_each(keys);
    for latest in [now + LATE, Timestamp::LATEST] {
        let (ended, left) = clear(statements, now, latest, &distinct).await?;
        for place in ended {
            let place = distinct.get(place).map(|(_, place)| *place);
            *at_place(&mut answers, place)? = true;
        }
        if left.is_empty() {
            break;
        }
        distinct = left.into_iter().filter_map(|place| distinct.get(place).copied()).collect();
    }
    Ok(answers)
}

/// Clears: the places of what was ended, and of what was set after `latest`.
async fn clear(
    statements: &Statements,
    now: Timestamp,
    latest: Timestamp,
    keys: &[(&SessionKey, usize)],
) -> Result<(Vec<usize>, Vec<usize>), StoreError> {
    let statement = sqlx::query(CLEAR_SESSIONS)
        .bind(keys.iter().map(|(key, _)| key.user.tenant_id).collect::<Vec<_>>())
        .bind(keys.iter().map(|(key, _)| key.user.user_id.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|(key, _)| key.session_id.as_str()).collect::<Vec<_>>())
        .bind(vec![Timestamptz(now)])
        .bind(vec![Timestamptz(latest)]);
    let done = statements.run("clear_sessions", statement).await?;
    let row = done.row()?;
    Ok((places(row.try_get(0)?), places(row.try_get(1)?)))
}
