-- Returns the newest observation of each session; see committed.rs.
--
-- $1 tenant_id, $2 user_id, $3 session_id: one array for each column
select tenant_id, user_id, session_id, observed_at
from presence_sessions
where tenant_id = any($1::uuid[])
  and user_id = any($2::text[])
  and session_id = any($3::text[])
