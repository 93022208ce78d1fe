-- Returns the sessions that a write of now or later has reached; see committed.rs.
--
-- $1 tenant_id, $2 user_id, $3 session_id: one array for each column
-- $4 now
select tenant_id, user_id, session_id
from presence_sessions
where tenant_id = any($1::uuid[])
  and user_id = any($2::text[])
  and session_id = any($3::text[])
  and observed_at >= $4
