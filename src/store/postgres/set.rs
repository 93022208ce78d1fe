//! Opening and refreshing sessions.

use sqlx::Row as _;

use super::{
    Begun, LATE_AFTER, Statements, halfway, listener::tell_changed, places, sessions,
    timestamptz::Timestamptz,
};
use crate::{
    presence::Timestamp,
    store::{SetSession, StoreError, keys},
};

/// What a set makes of a session `s` that is there. The fade is
/// [`crate::presence::INACTIVE_AFTER`]; the contract of `changed_at` is
/// [`crate::store::Store::set_sessions`]'s. Decided on the locked row, so it can't race.
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

/// Updates the sessions that are there and inserts those that are missing: with
/// `on conflict` alone each refresh locks its row first, and writes a third more
/// to the log. Whoever opens a session makes room for it: `opened` is nothing
/// but for a new one, so a refresh pays nothing for that. What watchers must hear
/// of has moved `changed_at`, to `set_at` or beyond. What was left alone, because it was
/// written after `latest`, comes back, and with it whether anybody was told: what is not
/// read would not run.
pub(super) const SET_SESSIONS: &str = concat!(
    "
with new as materialized (
    select new.tenant_id, new.user_id, new.session_id, new.availability, new.activity, new.expires_at, new.place,
           at.now as set_at, at.latest
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[]) with ordinality
        as new (tenant_id, user_id, session_id, availability, activity, expires_at, place)
    cross join unnest($7::timestamptz[], $8::timestamptz[]) as at (now, latest)
), refreshed as (
    update presence_sessions as s
    ",
    refresh!("new"),
    "
    from new
    where s.tenant_id = new.tenant_id and s.user_id = new.user_id and s.session_id = new.session_id
      and greatest(s.set_at, s.cleared_at) <= new.latest
    returning new.place, s.tenant_id, s.user_id, s.changed_at >= s.set_at as changed
), opened as (
    insert into presence_sessions as s
        (tenant_id, user_id, session_id, availability, activity, set_at, changed_at, expires_at)
    select tenant_id, user_id, session_id, availability, activity, set_at, set_at, expires_at
    from new
    where place not in (select place from refreshed)
    on conflict (tenant_id, user_id, session_id) do update
    ",
    refresh!("excluded"),
    "
    where greatest(s.set_at, s.cleared_at) <= (select latest from unnest($8::timestamptz[]) as at (latest))
    returning s.tenant_id, s.user_id, s.set_at, s.changed_at >= s.set_at as changed
), crowded as (
    select tenant_id, user_id, max(set_at) as now, count(*) as sessions
    from opened
    group by tenant_id, user_id
), kept as (
    select tenant_id, user_id, session_id, set_at, own,
           row_number() over (partition by tenant_id, user_id order by own, live, set_at) as place,
           count(*) over (partition by tenant_id, user_id) + opening as sessions
    from (
        select p.tenant_id, p.user_id, p.session_id, p.set_at,
               (p.tenant_id, p.user_id, p.session_id) in (select tenant_id, user_id, session_id from new)
                   or p.set_at >= crowded.now as own,
               p.cleared_at is null and p.expires_at > crowded.now as live,
               crowded.sessions as opening
        from crowded
        join presence_sessions as p on p.tenant_id = crowded.tenant_id and p.user_id = crowded.user_id
    ) as there
), removed as (
    delete from presence_sessions as s
    using kept
    where s.tenant_id = kept.tenant_id
      and s.user_id = kept.user_id
      and s.session_id = kept.session_id
      and s.set_at = kept.set_at -- another call may have refreshed it meanwhile
      and not kept.own
      and kept.place <= kept.sessions - 100
), changed as (
    select tenant_id, user_id from refreshed where changed
    union all
    select tenant_id, user_id from opened where changed
), told as (",
    tell_changed!(),
    "
)
select array(
           select new.place
           from new
           join presence_sessions as s
             on s.tenant_id = new.tenant_id and s.user_id = new.user_id and s.session_id = new.session_id
           where new.place not in (select place from refreshed)
       ),
       (select count(*) from told)"
);

/// [`crate::store::Store::set_sessions`].
pub(super) async fn set_sessions(
    statements: &Statements,
    now: Timestamp,
    sets: &[SetSession],
) -> Result<(), StoreError> {
    let (begun, sets) = (Begun::now(), keys::last_of_each(sets));
    let left = set(statements, now, now + LATE_AFTER, &sets).await?;
    if left.is_empty() {
        return Ok(());
    }
    begun.may_go_on()?;
    let left: Vec<_> = left.into_iter().filter_map(|place| sets.get(place).copied()).collect();
    set(statements, now, Timestamp::LATEST, &left).await.map_err(halfway)?;
    Ok(())
}

/// Sets, but for what was written after `latest`: its places.
async fn set(
    statements: &Statements,
    now: Timestamp,
    latest: Timestamp,
    sets: &[&SetSession],
) -> Result<Vec<usize>, StoreError> {
    let statement =
        sessions(SET_SESSIONS, now, sets).bind(vec![Timestamptz(now)]).bind(vec![Timestamptz(latest)]);
    Ok(places(statements.run("set_sessions", statement).await?.row()?.try_get(0)?))
}
