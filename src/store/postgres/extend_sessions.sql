-- Extends held sessions; see Store::extend_sessions.
--
-- $1 tenant_id, $2 user_id, $3 session_id, $4 availability, $5 activity, $6 expires_at: one array
-- for each column, with each key once
-- $7 now
-- $8 the time after which the statement is late and changes nothing
--
-- Returns one row for each session, with its pair if it was not cleared. The extension applies
-- if that is the pair of the parameters. No row means that the statement was late.
-- The rows are locked in the order of `order by`, which is that of the key. An update would not
-- lock them in an order.
--
-- A missing session gets a row that was cleared at the epoch, which shows nowhere.
-- 300000 ms are INACTIVE_AFTER.
insert into presence_sessions as s (
    tenant_id, user_id, session_id, availability, activity,
    opened_at, changed_at, set_at, expires_at, cleared_at, observed_at
)
select held.tenant_id, held.user_id, held.session_id, held.availability, held.activity,
       0, 0, at.now, held.expires_at, 0, 0
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
         as held (tenant_id, user_id, session_id, availability, activity, expires_at)
cross join (select $7::bigint as now) as at
where extract(epoch from statement_timestamp()) * 1000 <= $8::bigint
order by held.tenant_id, held.user_id collate "C", held.session_id collate "C"
on conflict (tenant_id, user_id, session_id) do update set
    (
        opened_at, changed_at, set_at, expires_at,
        previous_availability, previous_activity, previous_from, previous_until, previous_set_at,
        previous_set_by_application, previous_set_by_user
    ) = (
        select case when extended.applies and extended.expired then excluded.set_at else s.opened_at end,
               case
                   when extended.applies and (extended.expired or extended.faded)
                   then greatest(excluded.set_at, s.changed_at + 1)
                   else s.changed_at
               end,
               case when extended.applies then greatest(s.set_at, excluded.set_at) else s.set_at end,
               case when extended.applies then greatest(s.expires_at, excluded.expires_at) else s.expires_at end,
               ended.availability, ended.activity, ended.changed_at, ended.until, ended.set_at,
               ended.set_by_application, ended.set_by_user
        from (
            select s.cleared_at is null
                       and s.availability = excluded.availability
                       and s.activity = excluded.activity as applies,
                   s.expires_at <= excluded.set_at as expired,
                   s.availability = 'Available' and s.set_at + 300000 <= excluded.set_at as faded
        ) as extended
        left join (
            select s.availability, s.activity, s.changed_at, least(excluded.set_at, s.expires_at) as until, s.set_at,
                   s.set_by_application, s.set_by_user
        ) as ended on extended.applies and (extended.expired or extended.faded)
    )
returning
    s.tenant_id, s.user_id, s.previous_until is not null as changed, s.session_id,
    case when s.cleared_at is null then s.availability end as availability,
    case when s.cleared_at is null then s.activity end as activity,
    case when s.previous_until is not null then pg_notify('presence_changes', s.tenant_id || ' ' || s.user_id) end
