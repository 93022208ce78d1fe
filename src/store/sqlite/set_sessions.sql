-- Opens or refreshes sessions; see Store::set_sessions.
--
-- ?1 the sessions, a JSON array of arrays: tenant_id, user_id, session_id, availability, activity,
-- expires_at, set_by_application, set_by_user, observed_at, holder, message
-- ?2 now
--
-- Returns each session that was written, which is all but stale ones, and whether replicas must be
-- notified. The store leaves the clause out if it needs neither. A trigger keeps the spans that end;
-- see append_spans.sql.
--
-- `seen_at` is an end or a fade that a reader may see before this write commits, which is at most
-- SETTLES_AFTER, 3000 ms, after now. 300000 ms are INACTIVE_AFTER and 600000 ms AWAY_AFTER.
-- Without `where true`, SQLite would parse `on conflict` as the `on` of a join.
insert into presence_sessions as s (
    tenant_id, user_id, session_id, availability, activity, message,
    opened_at, started_at, changed_at, set_at, expires_at, observed_at, observed_by_caller, holder,
    set_by_application, set_by_user
)
select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 10,
       ?2, ?2, ?2, ?2, value ->> 5, coalesce(value ->> 8, ?2), value ->> 8 is not null, value ->> 9,
       value ->> 6, value ->> 7
from json_each(?1)
where true
on conflict (tenant_id, user_id, session_id) do update set
    availability       = excluded.availability,
    activity           = excluded.activity,
    message            = excluded.message,
    set_at             = excluded.set_at,
    expires_at         = excluded.expires_at,
    observed_at        = case
        when excluded.observed_by_caller then excluded.observed_at
        else max(excluded.observed_at, s.observed_at + 1)
    end,
    observed_by_caller = excluded.observed_by_caller,
    holder             = excluded.holder,
    previous_holder    = case when s.holder is not excluded.holder then s.holder end,
    set_by_application = excluded.set_by_application,
    set_by_user        = excluded.set_by_user,
    (
        opened_at, started_at, changed_at, cleared_at, cleared_by_application, cleared_by_user,
        previous_availability, previous_activity, previous_message,
        previous_started_at, previous_ended_at, previous_end_reason,
        previous_changed_at, previous_set_at,
        previous_set_by_application, previous_set_by_user
    ) = (
        select case when writes.opens then max(excluded.set_at, s.changed_at + 1, coalesce(writes.seen_at, 0)) else s.opened_at end,
               case when writes.changes or writes.is_by_another then max(excluded.set_at, s.started_at) else s.started_at end,
               case when writes.changes then max(excluded.set_at, s.changed_at + 1, coalesce(writes.seen_at, 0)) else s.changed_at end,
               null, null, null,
               ended.availability, ended.activity, ended.message,
               ended.started_at, ended.ended_at, ended.end_reason,
               ended.changed_at, ended.set_at,
               ended.set_by_application, ended.set_by_user
        from (
            select seen.at as seen_at,
                   s.cleared_at is not null or s.expires_at <= excluded.set_at + 3000 as opens,
                   seen.at is not null
                       or s.availability <> excluded.availability
                       or s.activity <> excluded.activity
                       or s.message is not excluded.message
                       or excluded.expires_at < s.expires_at as changes,
                   s.set_by_application is not excluded.set_by_application
                       or s.set_by_user is not excluded.set_by_user as is_by_another
            from (
                select case
                           when s.availability is null then 0
                           when s.cleared_at is not null then s.cleared_at
                           when s.expires_at <= excluded.set_at + 3000 then s.expires_at
                           when s.availability <> 'Available' then null
                           when s.set_at + 600000 <= excluded.set_at + 3000 then s.set_at + 600000
                           when s.set_at + 300000 <= excluded.set_at + 3000 then s.set_at + 300000
                       end + 1 as at
            ) as seen
        ) as writes
        left join (
            select s.availability, s.activity, s.message,
                   s.started_at,
                   max(s.started_at, min(excluded.set_at, s.expires_at)) as ended_at,
                   case when s.expires_at <= excluded.set_at then 'expired' else 'changed' end as end_reason,
                   s.changed_at, s.set_at,
                   s.set_by_application, s.set_by_user
        ) as ended on s.cleared_at is null and (writes.changes or writes.is_by_another)
    )
where not excluded.observed_by_caller or s.observed_at <= excluded.observed_at
returning tenant_id, user_id, session_id, changed_at >= set_at or previous_holder is not null
