-- Ends sessions; see Store::clear_sessions.
--
-- $1 tenant_id, $2 user_id, $3 session_id, $4 cleared_by_application, $5 cleared_by_user,
-- $6 observed_at, $7 holder: one array for each column, with each key once
-- $8 now
-- $9 whether spans that end are kept
-- $10 the time after which the statement is late and changes nothing
--
-- Returns one row for each session that was written: all but stale ones, and those that the holder
-- does not hold any more. If none was written, it returns one row without a key. Each row says
-- whether the statement was on time.
-- The rows are locked in the order of `order by`, which is that of the key. The columns of a
-- subquery are in the order of the table, with no other assignment between: Citus needs that.
--
-- It is an insert, because an update would not wait for a set of a new session that has not
-- committed yet. A missing session gets a mark: a row without a pair, which shows nowhere.
--
-- 3000 ms are SETTLES_AFTER: a reader may see the expiry before this write commits.
with written as (
    insert into presence_sessions as s (
        tenant_id, user_id, session_id, opened_at, started_at, changed_at, set_at, expires_at,
        cleared_at, cleared_by_application, cleared_by_user, observed_at, observed_by_caller, holder
    )
    select key.tenant_id, key.user_id, key.session_id, 0, 0, 0, 0, at.now,
           at.now, key.cleared_by_application, key.cleared_by_user,
           coalesce(key.observed_at, at.now), key.observed_at is not null, key.holder
    from unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::uuid[]
    ) as key (
        tenant_id, user_id, session_id, cleared_by_application, cleared_by_user, observed_at, holder
    )
    cross join (select $8::bigint as now) as at
    where extract(epoch from statement_timestamp()) * 1000 <= $10::bigint
    order by key.tenant_id, key.user_id collate "C", key.session_id collate "C"
    on conflict (tenant_id, user_id, session_id) do update set
        observed_at        = case
            when excluded.observed_by_caller then excluded.observed_at
            else greatest(excluded.observed_at, s.observed_at + 1)
        end,
        observed_by_caller = excluded.observed_by_caller,
        holder             = null,
        previous_holder    = case when s.holder is distinct from excluded.holder then s.holder end,
        (
            started_at, cleared_at, cleared_by_application, cleared_by_user,
            previous_availability, previous_activity, previous_message,
            previous_started_at, previous_ended_at, previous_end_reason,
            previous_changed_at, previous_set_at,
            previous_set_by_application, previous_set_by_user
        ) = (
            select greatest(s.started_at, excluded.cleared_at),
                   greatest(
                       excluded.cleared_at,
                       s.changed_at + 1,
                       case when s.expires_at <= excluded.cleared_at + 3000 then s.expires_at + 1 end
                   ),
                   excluded.cleared_by_application, excluded.cleared_by_user,
                   s.availability, s.activity, s.message,
                   s.started_at, greatest(s.started_at, excluded.cleared_at), 'cleared',
                   s.changed_at, s.set_at,
                   s.set_by_application, s.set_by_user
            where s.cleared_at is null and s.expires_at > excluded.cleared_at
            union all
            select s.started_at, s.cleared_at, s.cleared_by_application, s.cleared_by_user,
                   null, null, null, null, null, null, null, null, null, null
            where s.cleared_at is not null or s.expires_at <= excluded.cleared_at
        )
    where (not excluded.observed_by_caller or s.observed_at <= excluded.observed_at)
      and (excluded.holder is null or s.holder = excluded.holder)
    returning
        tenant_id, user_id, session_id, availability, previous_holder, cleared_by_application, cleared_by_user,
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
           previous_end_reason, cleared_by_application, cleared_by_user
    from written
    where previous_ended_at is not null
      and $9::boolean
)
select tenant_id, user_id,
       previous_ended_at is not null or previous_holder is not null as changed,
       $9 and previous_ended_at is not null as appended,
       statement.is_on_time,
       session_id,
       previous_ended_at is not null as ended,
       availability is null as marked,
    case
        when previous_ended_at is not null or previous_holder is not null
        then pg_notify('presence_changes', tenant_id || ' ' || user_id)
    end
from written
right join (
    select extract(epoch from statement_timestamp()) * 1000 <= $10::bigint as is_on_time
) as statement on true
