-- Ends sessions, and returns those that it ended; see Store::clear_sessions.
--
-- ?1 the keys, a JSON array of arrays: tenant_id, user_id, session_id, cleared_by_application,
-- cleared_by_user
-- ?2 now
--
-- A trigger keeps the spans that end; see append_spans.sql. 3000 ms are SETTLES_AFTER: a reader may
-- see the expiry before this write commits.
update presence_sessions
set started_at                  = max(started_at, ?2),
    cleared_at                  = max(
        ?2,
        changed_at + 1,
        case when expires_at <= ?2 + 3000 then expires_at + 1 else 0 end
    ),
    cleared_by_application      = key.value ->> 3,
    cleared_by_user             = key.value ->> 4,
    observed_at                 = max(?2, observed_at + 1),
    holder                      = null,
    previous_availability       = availability,
    previous_activity           = activity,
    previous_started_at         = started_at,
    previous_ended_at           = max(started_at, ?2),
    previous_end_reason         = 'cleared',
    previous_changed_at         = changed_at,
    previous_set_at             = set_at,
    previous_set_by_application = set_by_application,
    previous_set_by_user        = set_by_user
from json_each(?1) as key
where tenant_id = key.value ->> 0
  and user_id = key.value ->> 1
  and session_id = key.value ->> 2
  and cleared_at is null
  and expires_at > ?2
returning tenant_id, user_id, session_id
