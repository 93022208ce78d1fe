-- Ends one session, and returns it if it ended it; see clear_sessions.sql, which does it for
-- several.
--
-- ?1 tenant_id, ?2 user_id, ?3 session_id, ?4 cleared_by_application, ?5 cleared_by_user
-- ?6 now
update presence_sessions
set started_at                  = max(started_at, ?6),
    cleared_at                  = max(
        ?6,
        changed_at + 1,
        case when expires_at <= ?6 + 3000 then expires_at + 1 else 0 end
    ),
    cleared_by_application      = ?4,
    cleared_by_user             = ?5,
    observed_at                 = max(?6, observed_at + 1),
    holder                      = null,
    previous_availability       = availability,
    previous_activity           = activity,
    previous_started_at         = started_at,
    previous_ended_at           = max(started_at, ?6),
    previous_end_reason         = 'cleared',
    previous_changed_at         = changed_at,
    previous_set_at             = set_at,
    previous_set_by_application = set_by_application,
    previous_set_by_user        = set_by_user
where tenant_id = ?1 and user_id = ?2 and session_id = ?3
  and cleared_at is null
  and expires_at > ?6
returning tenant_id, user_id, session_id
