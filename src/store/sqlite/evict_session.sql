-- Clears a live session for which there is no room, unless it was set since it was read; see
-- crowded_sessions.sql.
--
-- ?1 tenant_id, ?2 user_id, ?3 session_id, ?4 set_at
-- ?5 now
--
-- Nothing was observed, so `observed_at` stays. A trigger keeps the span; see append_spans.sql. 3000 ms
-- are SETTLES_AFTER.
update presence_sessions
set holder                      = null,
    previous_holder             = holder,
    started_at                  = max(started_at, ?5),
    cleared_at                  = max(
        ?5,
        changed_at + 1,
        case when expires_at <= ?5 + 3000 then expires_at + 1 else 0 end
    ),
    cleared_by_application      = null,
    cleared_by_user             = null,
    previous_availability       = availability,
    previous_activity           = activity,
    previous_message            = message,
    previous_started_at         = started_at,
    previous_ended_at           = max(started_at, ?5),
    previous_end_reason         = 'evicted',
    previous_changed_at         = changed_at,
    previous_set_at             = set_at,
    previous_set_by_application = set_by_application,
    previous_set_by_user        = set_by_user
where tenant_id = ?1
  and user_id = ?2
  and session_id = ?3
  and set_at = ?4
  and cleared_at is null
  and expires_at > ?5
