-- Returns the sessions for which users of one tenant have no room on Citus; see
-- excess_sessions.sql and load_distributed.sql.
--
-- $1 tenant_id, $2 user_id: an array
-- $3 now: a session that was set at this time or later is kept
--
-- The session that ended last is kept, too: its end is part of the sequence number.
-- 100 is SESSIONS_MAX.
select tenant_id, user_id, session_id, set_at
from (
    select tenant_id, user_id, session_id, set_at,
           row_number() over (
               partition by tenant_id, user_id
               order by set_at < $3, cleared_at is not null or expires_at <= $3, set_at desc
           ) as ordinal,
           row_number() over (
               partition by tenant_id, user_id
               order by availability is not null and (cleared_at is not null or expires_at <= $3) desc,
                        coalesce(cleared_at, expires_at) desc, session_id desc
           ) as recency,
           availability is not null and (cleared_at is not null or expires_at <= $3) as has_ended
    from presence_sessions
    where tenant_id = $1
      and user_id = any($2::text[])
) as ranked
where ordinal > 100
  and set_at < $3
  and not (recency = 1 and has_ended)
