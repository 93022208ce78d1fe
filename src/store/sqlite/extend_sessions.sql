-- Extends held sessions, and returns those that it extended; see Store::extend_sessions.
--
-- ?1 the sessions, a JSON array of arrays: tenant_id, user_id, session_id, availability, activity,
-- expires_at
-- ?2 now
--
-- 300000 ms are INACTIVE_AFTER.
update presence_sessions as s
set set_at     = max(s.set_at, ?2),
    expires_at = max(s.expires_at, held.value ->> 5),
    opened_at  = case when s.expires_at <= ?2 then ?2 else s.opened_at end,
    changed_at = case
        when s.expires_at <= ?2 or (s.availability = 'Available' and s.set_at + 300000 <= ?2)
        then max(?2, s.changed_at + 1)
        else s.changed_at
    end,
    (
        previous_availability, previous_activity, previous_from, previous_until, previous_set_at,
        previous_set_by_application, previous_set_by_user
    ) = (
        select s.availability, s.activity, s.changed_at, min(?2, s.expires_at), s.set_at,
               s.set_by_application, s.set_by_user
        where s.expires_at <= ?2 or (s.availability = 'Available' and s.set_at + 300000 <= ?2)
    )
from json_each(?1) as held
where s.tenant_id = held.value ->> 0
  and s.user_id = held.value ->> 1
  and s.session_id = held.value ->> 2
  and s.availability = held.value ->> 3
  and s.activity = held.value ->> 4
  and s.cleared_at is null
returning tenant_id, user_id, session_id, availability, activity, previous_until is not null
