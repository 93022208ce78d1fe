//! Opening and refreshing sessions.

use sqlx::Row as _;

use super::{
    common::{WriteTimer, bind_sessions, not_retryable, notify_changed, positions},
    statement::Statements,
    timestamptz::Timestamptz,
};
use crate::{
    presence::Timestamp,
    store::{LATE_AFTER, SetSession, StoreError, keys},
};

/// The update of an existing session `s`. The interval of 5 minutes is
/// [`crate::presence::INACTIVE_AFTER`], and the contract of `changed_at` is in
/// [`crate::store::Store::set_sessions`]. The expressions read the locked row, so no race is
/// possible.
macro_rules! refresh {
    ($new:literal) => {
        concat!(
            "set
        availability = ",
            $new,
            ".availability,
        activity     = ",
            $new,
            ".activity,
        set_at       = ",
            $new,
            ".set_at,
        expires_at   = ",
            $new,
            ".expires_at,
        cleared_at   = null,
        changed_at   = case
            when s.availability <> ",
            $new,
            ".availability
              or s.activity <> ",
            $new,
            ".activity
              or s.cleared_at is not null
              or s.expires_at <= ",
            $new,
            ".set_at
              or (s.availability = 'Available' and s.set_at + interval '5 minutes' <= ",
            $new,
            ".set_at)
              or ",
            $new,
            ".expires_at < s.expires_at
            then greatest(",
            $new,
            ".set_at, s.changed_at + interval '1 millisecond')
            else s.changed_at
        end"
        )
    };
}

/// Updates existing sessions and inserts missing ones. With `on conflict` alone, each refresh
/// would lock its row first and write a third more to the log.
///
/// Opening a session removes sessions beyond the limit of the user. `opened` has only new
/// sessions, so a refresh costs nothing extra. A change that watchers must see has moved
/// `changed_at` to `set_at` or later. The result is the sessions that were skipped because
/// they were written after `latest`. The count of `notified` is selected because PostgreSQL
/// does not run a query that nothing references.
pub(super) const SET_SESSIONS: &str = concat!(
    "
with new as materialized (
    select new.tenant_id, new.user_id, new.session_id, new.availability, new.activity, new.expires_at, new.ordinal,
           at.now as set_at, at.latest
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[]) with ordinality
        as new (tenant_id, user_id, session_id, availability, activity, expires_at, ordinal)
    cross join unnest($7::timestamptz[], $8::timestamptz[]) as at (now, latest)
), refreshed as (
    update presence_sessions as s
    ",
    refresh!("new"),
    "
    from new
    where s.tenant_id = new.tenant_id and s.user_id = new.user_id and s.session_id = new.session_id
      and greatest(s.set_at, s.cleared_at) <= new.latest
    returning new.ordinal, s.tenant_id, s.user_id, s.changed_at >= s.set_at as changed
), opened as (
    insert into presence_sessions as s
        (tenant_id, user_id, session_id, availability, activity, set_at, changed_at, expires_at)
    select tenant_id, user_id, session_id, availability, activity, set_at, set_at, expires_at
    from new
    where ordinal not in (select ordinal from refreshed)
    on conflict (tenant_id, user_id, session_id) do update
    ",
    refresh!("excluded"),
    "
    where greatest(s.set_at, s.cleared_at) <= (select latest from unnest($8::timestamptz[]) as at (latest))
    returning s.tenant_id, s.user_id, s.set_at, s.changed_at >= s.set_at as changed
), limited as (
    select tenant_id, user_id, max(set_at) as now, count(*) as sessions
    from opened
    group by tenant_id, user_id
), candidates as (
    select tenant_id, user_id, session_id, set_at, own,
           row_number() over (partition by tenant_id, user_id order by own, live, set_at) as ordinal,
           count(*) over (partition by tenant_id, user_id) + opening as sessions
    from (
        select p.tenant_id, p.user_id, p.session_id, p.set_at,
               (p.tenant_id, p.user_id, p.session_id) in (select tenant_id, user_id, session_id from new)
                   or p.set_at >= limited.now as own,
               p.cleared_at is null and p.expires_at > limited.now as live,
               limited.sessions as opening
        from limited
        join presence_sessions as p on p.tenant_id = limited.tenant_id and p.user_id = limited.user_id
    ) as ranked
), removed as (
    delete from presence_sessions as s
    using candidates
    where s.tenant_id = candidates.tenant_id
      and s.user_id = candidates.user_id
      and s.session_id = candidates.session_id
      and s.set_at = candidates.set_at -- a concurrent call may have refreshed the session
      and not candidates.own
      and candidates.ordinal <= candidates.sessions - 100
), changed as (
    select tenant_id, user_id from refreshed where changed
    union all
    select tenant_id, user_id from opened where changed
), notified as (",
    notify_changed!(),
    "
)
select array(
           select new.ordinal
           from new
           join presence_sessions as s
             on s.tenant_id = new.tenant_id and s.user_id = new.user_id and s.session_id = new.session_id
           where new.ordinal not in (select ordinal from refreshed)
       ),
       (select count(*) from notified)"
);

/// [`crate::store::Store::set_sessions`].
pub(super) async fn set_sessions(
    statements: &Statements,
    now: Timestamp,
    sets: &[SetSession],
) -> Result<(), StoreError> {
    let (timer, sets) = (WriteTimer::start(), keys::last_of_each(sets));
    let skipped = set(statements, now, now + LATE_AFTER, &sets).await?;
    if skipped.is_empty() {
        return Ok(());
    }
    timer.check_not_late()?;
    let skipped: Vec<_> = skipped.into_iter().filter_map(|position| sets.get(position).copied()).collect();
    set(statements, now, Timestamp::LATEST, &skipped).await.map_err(not_retryable)?;
    Ok(())
}

/// Sets sessions. Returns the positions of those that were skipped because they were written
/// after `latest`.
async fn set(
    statements: &Statements,
    now: Timestamp,
    latest: Timestamp,
    sets: &[&SetSession],
) -> Result<Vec<usize>, StoreError> {
    let statement =
        bind_sessions(SET_SESSIONS, now, sets).bind(vec![Timestamptz(now)]).bind(vec![Timestamptz(latest)]);
    Ok(positions(statements.run("set_sessions", statement).await?.row()?.try_get(0)?))
}
