-- Ends one session, and returns it if it ended it; see clear_sessions.sql, which does it for
-- several.
--
-- ?1 tenant_id, ?2 user_id, ?3 session_id
-- ?4 now
update presence_sessions
set cleared_at                  = ?4,
    observed_at                 = max(?4, observed_at + 1),
    holder                      = null,
    previous_availability       = availability,
    previous_activity           = activity,
    previous_from               = changed_at,
    previous_until              = ?4,
    previous_set_at             = set_at,
    previous_set_by_application = set_by_application,
    previous_set_by_user        = set_by_user
where tenant_id = ?1 and user_id = ?2 and session_id = ?3
  and cleared_at is null
  and expires_at > ?4
returning tenant_id, user_id, session_id
