-- Returns the sessions for which users of one tenant have no room; see Store::set_sessions.
--
-- $1 tenant_id, $2 user_id: an array
-- $3 now: a session that was set at this time or later is kept
--
-- The session that ended last is kept, too: its end is part of the sequence number.
-- 100 is SESSIONS_MAX. Each user is looked up by the key, as in load.sql.
select ranked.tenant_id, ranked.user_id, ranked.session_id, ranked.set_at
from unnest($2::text[]) as requested (user_id)
cross join lateral (
    select tenant_id, user_id, session_id, set_at,
           row_number() over (
               order by set_at < $3, cleared_at is not null or expires_at <= $3, set_at desc
           ) as ordinal,
           row_number() over (
               order by availability is not null and (cleared_at is not null or expires_at <= $3) desc,
                        coalesce(cleared_at, expires_at) desc, session_id desc
           ) as recency,
           availability is not null and (cleared_at is not null or expires_at <= $3) as has_ended
    from presence_sessions
    where tenant_id = $1
      and user_id = requested.user_id
) as ranked
where ranked.ordinal > 100
  and ranked.set_at < $3
  and not (ranked.recency = 1 and ranked.has_ended)
