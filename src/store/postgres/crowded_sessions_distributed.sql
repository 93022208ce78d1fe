-- Returns the sessions for which users of one tenant have no room on Citus; see
-- crowded_sessions.sql and load_distributed.sql.
--
-- $1 tenant_id, $2 user_id: an array
-- $3 now
--
-- `action` is what makes room: evict a live session beyond the 20 of its application
-- (APPLICATION_SESSIONS_MAX), which is the one that set it or else the part of the session id before
-- the first colon; refuse a live session beyond the user's 100 (SESSIONS_MAX), in the order in which
-- they were opened; remove an ended session beyond 100. The session that ended last is kept, because
-- its end is part of the sequence number.
-- `opened_at` can be some seconds ahead of the time of the set that opened the session.
select tenant_id, user_id, session_id, set_at, action
from (
    select tenant_id, user_id, session_id, set_at,
           case
               when is_live and of_application > 20 then 'evict'
               when is_live and row_number() over (
                   partition by tenant_id, user_id, is_live and of_application <= 20 order by least(opened_at, set_at), session_id
               ) > 100 then 'refuse'
               when not is_live and not is_last and live + of_ended > 100 then 'remove'
           end as action
    from (
        select tenant_id, user_id, session_id, set_at, opened_at, is_live,
               count(*) filter (where is_live) over (partition by tenant_id, user_id) as live,
               row_number() over (partition by tenant_id, user_id, is_live, application order by set_at desc, session_id) as of_application,
               row_number() over (partition by tenant_id, user_id, is_live order by ended_at desc, session_id desc) as of_ended,
               not is_mark and row_number() over (
                   partition by tenant_id, user_id, is_live or is_mark order by ended_at desc, session_id desc
               ) = 1 as is_last
        from (
            select tenant_id, user_id, session_id, set_at, opened_at,
                   availability is null as is_mark,
                   cleared_at is null and expires_at > $3 as is_live,
                   coalesce(cleared_at, expires_at) as ended_at,
                   coalesce(set_by_application, split_part(session_id, ':', 1)) as application
            from presence_sessions
            where tenant_id = $1
              and user_id = any($2::text[])
        ) as s
    ) as ranked
) as crowded
where action is not null
