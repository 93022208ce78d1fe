-- Removes a session that was not set since it was read; see Store::remove_sessions. Citus locks
-- no rows of several shards, so it removes one session at a time.
--
-- $1 tenant_id, $2 user_id, $3 session_id, $4 set_at
delete from presence_sessions
where tenant_id = $1
  and user_id = $2
  and session_id = $3
  and set_at = $4
