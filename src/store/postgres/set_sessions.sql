-- Opens or refreshes sessions; see Store::set_sessions.
--
-- $1 tenant_id, $2 user_id, $3 session_id, $4 availability, $5 activity, $6 expires_at,
-- $7 set_by_application, $8 set_by_user, $9 observed_at, $10 holder, $11 message: one array for each
-- column, with each key once
-- $12 now
-- $13 whether spans that end are kept
-- $14 the time after which the statement is late and changes nothing
--
-- Returns one row for each session that was written: all but stale ones. If none was written, it
-- returns one row without a key. Each row says whether the statement was on time.
-- The rows are locked in the order of `order by`, which is that of the key. The columns of a
-- subquery are in the order of the table, with no other assignment between: Citus needs that.
--
-- `seen_at` is an end or a fade that a reader may see before this write commits, which is at most
-- SETTLES_AFTER, 3000 ms, after now. No reader sees a mark. 300000 ms are INACTIVE_AFTER and
-- 600000 ms AWAY_AFTER.
with written as (
    insert into presence_sessions as s (
        tenant_id, user_id, session_id, availability, activity, message,
        opened_at, started_at, changed_at, set_at, expires_at, observed_at, observed_by_caller, holder,
        set_by_application, set_by_user
    )
    select new.tenant_id, new.user_id, new.session_id, new.availability, new.activity, new.message,
           at.now, at.now, at.now, at.now, new.expires_at,
           coalesce(new.observed_at, at.now), new.observed_at is not null, new.holder,
           new.set_by_application, new.set_by_user
    from unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[],
        $6::bigint[], $7::text[], $8::text[], $9::bigint[], $10::uuid[], $11::text[]
    ) as new (
        tenant_id, user_id, session_id, availability, activity,
        expires_at, set_by_application, set_by_user, observed_at, holder, message
    )
    cross join (select $12::bigint as now) as at
    where extract(epoch from statement_timestamp()) * 1000 <= $14::bigint
    order by new.tenant_id, new.user_id collate "C", new.session_id collate "C"
    on conflict (tenant_id, user_id, session_id) do update set
        availability       = excluded.availability,
        activity           = excluded.activity,
        message            = excluded.message,
        set_at             = excluded.set_at,
        expires_at         = excluded.expires_at,
        observed_at        = case
            when excluded.observed_by_caller then excluded.observed_at
            else greatest(excluded.observed_at, s.observed_at + 1)
        end,
        observed_by_caller = excluded.observed_by_caller,
        holder             = excluded.holder,
        previous_holder    = case when s.holder is distinct from excluded.holder then s.holder end,
        set_by_application = excluded.set_by_application,
        set_by_user        = excluded.set_by_user,
        (
            opened_at, started_at, changed_at, cleared_at, cleared_by_application, cleared_by_user,
            previous_availability, previous_activity, previous_message,
            previous_started_at, previous_ended_at, previous_end_reason,
            previous_changed_at, previous_set_at,
            previous_set_by_application, previous_set_by_user
        ) = (
            select case when writes.opens then greatest(excluded.set_at, s.changed_at + 1, writes.seen_at) else s.opened_at end,
                   case when writes.changes or writes.is_by_another then greatest(excluded.set_at, s.started_at) else s.started_at end,
                   case when writes.changes then greatest(excluded.set_at, s.changed_at + 1, writes.seen_at) else s.changed_at end,
                   null::bigint, null::text, null::text,
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
                           or s.message is distinct from excluded.message
                           or excluded.expires_at < s.expires_at as changes,
                       s.set_by_application is distinct from excluded.set_by_application
                           or s.set_by_user is distinct from excluded.set_by_user as is_by_another
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
                       greatest(s.started_at, least(excluded.set_at, s.expires_at)) as ended_at,
                       case when s.expires_at <= excluded.set_at then 'expired' else 'changed' end as end_reason,
                       s.changed_at, s.set_at,
                       s.set_by_application, s.set_by_user
            ) as ended on s.cleared_at is null and (writes.changes or writes.is_by_another)
        )
    where not excluded.observed_by_caller or s.observed_at <= excluded.observed_at
    returning
        tenant_id, user_id, session_id, opened_at, changed_at, set_at, previous_holder,
        set_by_application, set_by_user,
        previous_availability, previous_activity, previous_message,
        previous_started_at, previous_ended_at, previous_end_reason,
        previous_changed_at, previous_set_at,
        previous_set_by_application, previous_set_by_user
), appended as (
    insert into presence_history (
        tenant_id, user_id, part, session_id, started_at, ended_at,
        availability, activity, content, changed_at, set_at, set_by_application, set_by_user,
        end_reason, ended_by_application, ended_by_user
    )
    select tenant_id, user_id, 'session', session_id, previous_started_at, previous_ended_at,
           previous_availability, previous_activity, previous_message,
           previous_changed_at, previous_set_at, previous_set_by_application, previous_set_by_user,
           previous_end_reason,
           case when previous_end_reason = 'changed' then set_by_application end,
           case when previous_end_reason = 'changed' then set_by_user end
    from written
    where previous_ended_at is not null
      and $13::boolean
)
select tenant_id, user_id,
       (changed_at >= set_at or previous_holder is not null) is true as changed,
       $13 and previous_ended_at is not null as appended,
       statement.is_on_time,
       session_id,
       opened_at >= set_at as opened,
    case
        when changed_at >= set_at or previous_holder is not null
        then pg_notify('presence_changes', tenant_id || ' ' || user_id)
    end
from written
right join (
    select extract(epoch from statement_timestamp()) * 1000 <= $14::bigint as is_on_time
) as statement on true
