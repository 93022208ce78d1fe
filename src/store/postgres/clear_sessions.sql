-- Ends sessions; see Store::clear_sessions.
--
-- $1 tenant_id, $2 user_id, $3 session_id: one array for each column, with each key once
-- $4 now
-- $5 the time after which the statement is late and changes nothing
--
-- Returns one row for each session. No row means that the statement was late.
-- The rows are locked in the order of `order by`, which is that of the key.
--
-- It is an insert, because an update would not wait for a set of a new session that has not
-- committed yet. A missing session gets a mark: a row without a pair, which shows nowhere.
insert into presence_sessions as s (
    tenant_id, user_id, session_id, opened_at, changed_at, set_at, expires_at, cleared_at, observed_at
)
select key.tenant_id, key.user_id, key.session_id, 0, 0, 0, at.now, at.now, at.now
from unnest($1::uuid[], $2::text[], $3::text[]) as key (tenant_id, user_id, session_id)
cross join (select $4::bigint as now) as at
where extract(epoch from statement_timestamp()) * 1000 <= $5::bigint
order by key.tenant_id, key.user_id collate "C", key.session_id collate "C"
on conflict (tenant_id, user_id, session_id) do update set
    cleared_at  = case
        when s.cleared_at is null and s.expires_at > excluded.cleared_at then excluded.cleared_at
        else s.cleared_at
    end,
    observed_at = greatest(excluded.observed_at, s.observed_at + 1),
    holder      = null,
    (
        previous_availability, previous_activity, previous_from, previous_until, previous_set_at,
        previous_set_by_application, previous_set_by_user
    ) = (
        select s.availability, s.activity, s.changed_at, excluded.cleared_at, s.set_at,
               s.set_by_application, s.set_by_user
        where s.cleared_at is null and s.expires_at > excluded.cleared_at
    )
returning
    s.tenant_id, s.user_id, s.previous_until is not null as changed, s.session_id, s.availability is null as marked,
    case when s.previous_until is not null then pg_notify('presence_changes', s.tenant_id || ' ' || s.user_id) end
