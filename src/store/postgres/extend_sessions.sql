-- Extends or changes held sessions; see Store::extend_sessions.
--
-- $1 tenant_id, $2 user_id, $3 session_id, $4 holder, $5 expires_at,
-- $6 availability, $7 activity: null if the pair and the text stay, $8 observed_at: 0 if it stays,
-- $9 observed_by_caller, $10 message: one array for each column, with each key once
-- $11 now
-- $12 whether spans that end are kept
-- $13 the time after which the statement is late and changes nothing
--
-- Returns one row for each session that was extended, and for each missing one, which gets a row that
-- was cleared at the epoch and shows nowhere. If it wrote none, it returns one row without a key. Each
-- row says whether the statement was on time.
-- The rows are locked in the order of `order by`, which is that of the key. The columns of a
-- subquery are in the order of the table, with no other assignment between: Citus needs that. An
-- update would not lock them in an order.
--
-- `seen_at` is an end or a fade that a reader may see before this write commits, which is at most
-- SETTLES_AFTER, 3000 ms, after now. 300000 ms are INACTIVE_AFTER and 600000 ms AWAY_AFTER.
with written as (
    insert into presence_sessions as s (
        tenant_id, user_id, session_id, availability, activity, message,
        opened_at, started_at, changed_at, set_at, expires_at, cleared_at,
        observed_at, observed_by_caller, holder
    )
    select held.tenant_id, held.user_id, held.session_id, held.availability, held.activity, held.message,
           0, 0, 0, at.now, held.expires_at, 0,
           held.observed_at, held.observed_by_caller, held.holder
    from unnest(
        $1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::bigint[],
        $6::text[], $7::text[], $8::bigint[], $9::boolean[], $10::text[]
    ) as held (
        tenant_id, user_id, session_id, holder, expires_at,
        availability, activity, observed_at, observed_by_caller, message
    )
    cross join (select $11::bigint as now) as at
    where extract(epoch from statement_timestamp()) * 1000 <= $13::bigint
    order by held.tenant_id, held.user_id collate "C", held.session_id collate "C"
    on conflict (tenant_id, user_id, session_id) do update set
        availability       = coalesce(excluded.availability, s.availability),
        activity           = coalesce(excluded.activity, s.activity),
        message            = case when excluded.availability is null then s.message else excluded.message end,
        set_at             = greatest(s.set_at, excluded.set_at),
        expires_at         = greatest(s.expires_at, excluded.expires_at),
        observed_at        = case
            when excluded.observed_at = 0 then s.observed_at
            when excluded.observed_by_caller then excluded.observed_at
            else greatest(excluded.observed_at, s.observed_at + 1)
        end,
        observed_by_caller = case
            when excluded.observed_at = 0 then s.observed_by_caller
            else excluded.observed_by_caller
        end,
        previous_holder    = null,
        (
            opened_at, started_at, changed_at,
            previous_availability, previous_activity, previous_message,
            previous_started_at, previous_ended_at, previous_end_reason,
            previous_changed_at, previous_set_at,
            previous_set_by_application, previous_set_by_user
        ) = (
            select case when extended.opens then greatest(excluded.set_at, s.changed_at + 1, extended.seen_at) else s.opened_at end,
                   case when extended.changes then greatest(excluded.set_at, s.started_at) else s.started_at end,
                   case when extended.changes then greatest(excluded.set_at, s.changed_at + 1, extended.seen_at) else s.changed_at end,
                   ended.availability, ended.activity, ended.message,
                   ended.started_at, ended.ended_at, ended.end_reason,
                   ended.changed_at, ended.set_at,
                   ended.set_by_application, ended.set_by_user
            from (
                select seen.at as seen_at,
                       s.expires_at <= excluded.set_at + 3000 as opens,
                       seen.at is not null
                           or s.availability <> coalesce(excluded.availability, s.availability)
                           or s.activity <> coalesce(excluded.activity, s.activity)
                           or (
                               excluded.availability is not null
                               and s.message is distinct from excluded.message
                           ) as changes
                from (
                    select case
                               when s.expires_at <= excluded.set_at + 3000 then s.expires_at
                               when s.availability <> 'Available' then null
                               when s.set_at + 600000 <= excluded.set_at + 3000 then s.set_at + 600000
                               when s.set_at + 300000 <= excluded.set_at + 3000 then s.set_at + 300000
                           end + 1 as at
                ) as seen
            ) as extended
            left join (
                select s.availability, s.activity, s.message,
                       s.started_at,
                       greatest(s.started_at, least(excluded.set_at, s.expires_at)) as ended_at,
                       case when s.expires_at <= excluded.set_at then 'expired' else 'changed' end as end_reason,
                       s.changed_at, s.set_at,
                       s.set_by_application, s.set_by_user
            ) as ended on extended.changes
        )
    where s.holder = excluded.holder
      and s.cleared_at is null
      and (not excluded.observed_by_caller or s.observed_at <= excluded.observed_at)
    returning
        tenant_id, user_id, session_id, opened_at, expires_at, set_by_application, set_by_user,
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
      and $12::boolean
)
select tenant_id, user_id, previous_ended_at is not null as changed,
       $12 and previous_ended_at is not null as appended,
       statement.is_on_time,
       session_id,
       expires_at,
       opened_at = 0 as is_missing,
    case when previous_ended_at is not null then pg_notify('presence_changes', tenant_id || ' ' || user_id) end
from written
right join (
    select extract(epoch from statement_timestamp()) * 1000 <= $13::bigint as is_on_time
) as statement on true
