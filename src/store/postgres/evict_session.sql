-- Clears a live session for which there is no room, unless it was set since it was read; see
-- crowded_sessions.sql. One row at a time, so that two evictions do not wait for each other.
--
-- $1 tenant_id, $2 user_id, $3 session_id, $4 set_at
-- $5 now
-- $6 whether spans that end are kept
--
-- Nothing was observed, so `observed_at` stays. 3000 ms are SETTLES_AFTER.
with written as (
    update presence_sessions as s
    set holder                      = null,
        previous_holder             = s.holder,
        started_at                  = greatest(s.started_at, $5::bigint),
        cleared_at                  = greatest(
            $5::bigint,
            s.changed_at + 1,
            case when s.expires_at <= $5::bigint + 3000 then s.expires_at + 1 end
        ),
        cleared_by_application      = null,
        cleared_by_user             = null,
        previous_availability       = s.availability,
        previous_activity           = s.activity,
        previous_message            = s.message,
        previous_started_at         = s.started_at,
        previous_ended_at           = greatest(s.started_at, $5::bigint),
        previous_end_reason         = 'evicted',
        previous_changed_at         = s.changed_at,
        previous_set_at             = s.set_at,
        previous_set_by_application = s.set_by_application,
        previous_set_by_user        = s.set_by_user
    where s.tenant_id = $1
      and s.user_id = $2
      and s.session_id = $3
      and s.set_at = $4
      and s.cleared_at is null
      and s.expires_at > $5
    returning
        tenant_id, user_id, session_id, availability, activity, message,
        previous_started_at, previous_ended_at, previous_end_reason,
        previous_changed_at, previous_set_at,
        previous_set_by_application, previous_set_by_user
), appended as (
    insert into presence_history (
        tenant_id, user_id, part, session_id, started_at, ended_at,
        availability, activity, content, changed_at, set_at, set_by_application, set_by_user, end_reason
    )
    select tenant_id, user_id, 'session', session_id, previous_started_at, previous_ended_at,
           availability, activity, message,
           previous_changed_at, previous_set_at, previous_set_by_application, previous_set_by_user,
           previous_end_reason
    from written
    where $6::boolean
)
select tenant_id, user_id, true as changed,
       $6 as appended,
    case when true then pg_notify('presence_changes', tenant_id || ' ' || user_id) end
from written
