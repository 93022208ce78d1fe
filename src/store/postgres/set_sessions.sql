-- Opens or refreshes sessions; see Store::set_sessions.
--
-- $1 tenant_id, $2 user_id, $3 session_id, $4 availability, $5 activity, $6 expires_at,
-- $7 set_by_application, $8 set_by_user: one array for each column, with each key once
-- $9 now
-- $10 the time after which the statement is late and changes nothing
--
-- Returns one row for each session. No row means that the statement was late.
-- The rows are locked in the order of `order by`, which is that of the key.
-- 300000 ms are INACTIVE_AFTER.
insert into presence_sessions as s (
    tenant_id, user_id, session_id, availability, activity,
    opened_at, changed_at, set_at, expires_at, observed_at,
    set_by_application, set_by_user
)
select new.tenant_id, new.user_id, new.session_id, new.availability, new.activity,
       at.now, at.now, at.now, new.expires_at, at.now,
       new.set_by_application, new.set_by_user
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[])
         as new (tenant_id, user_id, session_id, availability, activity, expires_at, set_by_application, set_by_user)
cross join (select $9::bigint as now) as at
where extract(epoch from statement_timestamp()) * 1000 <= $10::bigint
order by new.tenant_id, new.user_id collate "C", new.session_id collate "C"
on conflict (tenant_id, user_id, session_id) do update set
    availability       = excluded.availability,
    activity           = excluded.activity,
    set_at             = excluded.set_at,
    expires_at         = excluded.expires_at,
    cleared_at         = null,
    observed_at        = greatest(excluded.observed_at, s.observed_at + 1),
    holder             = null,
    set_by_application = excluded.set_by_application,
    set_by_user        = excluded.set_by_user,
    opened_at          = case
        when s.cleared_at is not null or s.expires_at <= excluded.set_at then excluded.set_at
        else s.opened_at
    end,
    changed_at         = case
        when s.availability is distinct from excluded.availability
          or s.activity is distinct from excluded.activity
          or s.cleared_at is not null
          or s.expires_at <= excluded.set_at
          or (s.availability = 'Available' and s.set_at + 300000 <= excluded.set_at)
          or excluded.expires_at < s.expires_at
        then greatest(excluded.set_at, s.changed_at + 1)
        else s.changed_at
    end,
    (
        previous_availability, previous_activity, previous_from, previous_until, previous_set_at,
        previous_set_by_application, previous_set_by_user
    ) = (
        select s.availability, s.activity, s.changed_at, least(excluded.set_at, s.expires_at), s.set_at,
               s.set_by_application, s.set_by_user
        where s.cleared_at is null
          and (
              s.availability <> excluded.availability
              or s.activity <> excluded.activity
              or s.expires_at <= excluded.set_at
              or (s.availability = 'Available' and s.set_at + 300000 <= excluded.set_at)
              or excluded.expires_at < s.expires_at
              or s.set_by_application is distinct from excluded.set_by_application
              or s.set_by_user is distinct from excluded.set_by_user
          )
    )
returning
    s.tenant_id, s.user_id, s.changed_at >= s.set_at as changed, s.opened_at = s.set_at as opened,
    case when s.changed_at >= s.set_at then pg_notify('presence_changes', s.tenant_id || ' ' || s.user_id) end
