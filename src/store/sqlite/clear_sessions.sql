-- Ends sessions, and returns those that it ended; see Store::clear_sessions.
--
-- ?1 the keys, a JSON array of arrays: tenant_id, user_id, session_id
-- ?2 now
update presence_sessions
set cleared_at                  = ?2,
    observed_at                 = max(?2, observed_at + 1),
    holder                      = null,
    previous_availability       = availability,
    previous_activity           = activity,
    previous_from               = changed_at,
    previous_until              = ?2,
    previous_set_at             = set_at,
    previous_set_by_application = set_by_application,
    previous_set_by_user        = set_by_user
where (tenant_id, user_id, session_id) in (select value ->> 0, value ->> 1, value ->> 2 from json_each(?1))
  and cleared_at is null
  and expires_at > ?2
returning tenant_id, user_id, session_id
