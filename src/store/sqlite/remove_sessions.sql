-- Removes sessions that were not set since they were read; see Store::remove_sessions.
--
-- ?1 the rows, a JSON array of arrays: tenant_id, user_id, session_id, set_at
delete from presence_sessions
where (tenant_id, user_id, session_id, set_at) in (
    select value ->> 0, value ->> 1, value ->> 2, value ->> 3 from json_each(?1)
)
