-- Opens or refreshes one session; see set_sessions.sql, which does it for several.
--
-- ?1 tenant_id, ?2 user_id, ?3 session_id, ?4 availability, ?5 activity, ?6 expires_at,
-- ?7 set_by_application, ?8 set_by_user
-- ?9 now
insert into presence_sessions as s (
    tenant_id, user_id, session_id, availability, activity,
    opened_at, changed_at, set_at, expires_at, observed_at,
    set_by_application, set_by_user
)
values (?1, ?2, ?3, ?4, ?5, ?9, ?9, ?9, ?6, ?9, ?7, ?8)
on conflict (tenant_id, user_id, session_id) do update set
    availability       = excluded.availability,
    activity           = excluded.activity,
    set_at             = excluded.set_at,
    expires_at         = excluded.expires_at,
    cleared_at         = null,
    observed_at        = max(excluded.observed_at, s.observed_at + 1),
    holder             = null,
    set_by_application = excluded.set_by_application,
    set_by_user        = excluded.set_by_user,
    opened_at          = case
        when s.cleared_at is not null or s.expires_at <= excluded.set_at then excluded.set_at
        else s.opened_at
    end,
    changed_at         = case
        when s.availability is not excluded.availability
          or s.activity is not excluded.activity
          or s.cleared_at is not null
          or s.expires_at <= excluded.set_at
          or (s.availability = 'Available' and s.set_at + 300000 <= excluded.set_at)
          or excluded.expires_at < s.expires_at
        then max(excluded.set_at, s.changed_at + 1)
        else s.changed_at
    end,
    (
        previous_availability, previous_activity, previous_from, previous_until, previous_set_at,
        previous_set_by_application, previous_set_by_user
    ) = (
        select s.availability, s.activity, s.changed_at, min(excluded.set_at, s.expires_at), s.set_at,
               s.set_by_application, s.set_by_user
        where s.cleared_at is null
          and (
              s.availability <> excluded.availability
              or s.activity <> excluded.activity
              or s.expires_at <= excluded.set_at
              or (s.availability = 'Available' and s.set_at + 300000 <= excluded.set_at)
              or excluded.expires_at < s.expires_at
              or s.set_by_application is not excluded.set_by_application
              or s.set_by_user is not excluded.set_by_user
          )
    )
returning case when changed_at >= set_at then tenant_id || ' ' || user_id end
