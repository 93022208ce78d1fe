-- Extends held sessions; see Store::extend_sessions.
--
-- $1 tenant_id, $2 user_id, $3 session_id, $4 availability, $5 activity, $6 expires_at: one array
-- for each column, with each key once
-- $7 now
-- $8 whether spans that end are kept
-- $9 the time after which the statement is late and changes nothing
--
-- Returns one row for each session, with its pair if it was not cleared. The extension applies
-- if that is the pair of the parameters. No row means that the statement was late.
-- The rows are locked in the order of `order by`, which is that of the key. The columns of a
-- subquery are in the order of the table, with no other assignment between: Citus needs that. An update would not
-- lock them in an order.
--
-- A missing session gets a row that was cleared at the epoch, which shows nowhere.
-- `seen_at` is an end or a fade that a reader may see before this write commits, which is at most
-- SETTLES_AFTER, 3000 ms, after now. 300000 ms are INACTIVE_AFTER and 600000 ms AWAY_AFTER.
with written as (
    insert into presence_sessions as s (
        tenant_id, user_id, session_id, availability, activity,
        opened_at, started_at, changed_at, set_at, expires_at, cleared_at, observed_at
    )
    select held.tenant_id, held.user_id, held.session_id, held.availability, held.activity,
           0, 0, 0, at.now, held.expires_at, 0, 0
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
             as held (tenant_id, user_id, session_id, availability, activity, expires_at)
    cross join (select $7::bigint as now) as at
    where extract(epoch from statement_timestamp()) * 1000 <= $9::bigint
    order by held.tenant_id, held.user_id collate "C", held.session_id collate "C"
    on conflict (tenant_id, user_id, session_id) do update set
        (
            set_at, expires_at, opened_at, started_at, changed_at,
            previous_availability, previous_activity,
            previous_started_at, previous_ended_at, previous_end_reason,
            previous_changed_at, previous_set_at,
            previous_set_by_application, previous_set_by_user
        ) = (
            select case when extended.applies then greatest(s.set_at, excluded.set_at) else s.set_at end,
                   case when extended.applies then greatest(s.expires_at, excluded.expires_at) else s.expires_at end,
                   case when extended.opens then greatest(excluded.set_at, s.changed_at + 1, extended.seen_at) else s.opened_at end,
                   case when extended.seen_at is not null then greatest(excluded.set_at, s.started_at) else s.started_at end,
                   case when extended.seen_at is not null then greatest(excluded.set_at, s.changed_at + 1, extended.seen_at) else s.changed_at end,
                   ended.availability, ended.activity,
                   ended.started_at, ended.ended_at, ended.end_reason,
                   ended.changed_at, ended.set_at,
                   ended.set_by_application, ended.set_by_user
            from (
                select applies, applies and s.expires_at <= excluded.set_at + 3000 as opens,
                       case
                           when not applies then null
                           when s.expires_at <= excluded.set_at + 3000 then s.expires_at
                           when s.availability <> 'Available' then null
                           when s.set_at + 600000 <= excluded.set_at + 3000 then s.set_at + 600000
                           when s.set_at + 300000 <= excluded.set_at + 3000 then s.set_at + 300000
                       end + 1 as seen_at
                from (
                    select s.cleared_at is null
                               and s.availability = excluded.availability
                               and s.activity = excluded.activity as applies
                ) as held
            ) as extended
            left join (
                select s.availability, s.activity,
                       s.started_at,
                       greatest(s.started_at, least(excluded.set_at, s.expires_at)) as ended_at,
                       case when s.expires_at <= excluded.set_at then 'expired' else 'changed' end as end_reason,
                       s.changed_at, s.set_at,
                       s.set_by_application, s.set_by_user
            ) as ended on extended.seen_at is not null
        )
    returning
        tenant_id, user_id, session_id, availability, activity, opened_at, cleared_at,
        set_by_application, set_by_user,
        previous_availability, previous_activity,
        previous_started_at, previous_ended_at, previous_end_reason,
        previous_changed_at, previous_set_at,
        previous_set_by_application, previous_set_by_user
), appended as (
    insert into presence_history (
        tenant_id, user_id, part, session_id, started_at, ended_at,
        availability, activity, changed_at, set_at, set_by_application, set_by_user,
        end_reason, ended_by_application, ended_by_user
    )
    select tenant_id, user_id, 'session', session_id, previous_started_at, previous_ended_at,
           previous_availability, previous_activity,
           previous_changed_at, previous_set_at, previous_set_by_application, previous_set_by_user,
           previous_end_reason,
           case when previous_end_reason = 'changed' then set_by_application end,
           case when previous_end_reason = 'changed' then set_by_user end
    from written
    where previous_ended_at is not null
      and $8::boolean
)
select tenant_id, user_id, previous_ended_at is not null as changed,
       $8 and previous_ended_at is not null as appended,
       session_id,
       case when cleared_at is null then availability end as availability,
       case when cleared_at is null then activity end as activity,
       opened_at = 0 as is_missing,
    case when previous_ended_at is not null then pg_notify('presence_changes', tenant_id || ' ' || user_id) end
from written
