-- Removes a session that was not set since it was read; see Store::remove_sessions. Citus locks
-- no rows of several shards, so it removes one session at a time.
--
-- $1 tenant_id, $2 user_id, $3 session_id, $4 set_at
-- $5 now
-- $6 whether spans that end are kept
with removed as (
    delete from presence_sessions
    where tenant_id = $1
      and user_id = $2
      and session_id = $3
      and set_at = $4
    returning *
), appended as (
    insert into presence_history (
        tenant_id, user_id, part, session_id, started_at, ended_at,
        availability, activity, content, changed_at, set_at, set_by_application, set_by_user, end_reason
    )
    select tenant_id, user_id, 'session', session_id, started_at, greatest(started_at, least($5::bigint, expires_at)),
           availability, activity, message, changed_at, set_at, set_by_application, set_by_user,
           case when expires_at <= $5 then 'expired' else 'evicted' end
    from removed
    where cleared_at is null
      and $6::boolean
)
select (cleared_at is null and $6)::int as spans
from removed
