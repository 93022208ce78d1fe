-- Returns the streams that still hold a session on Citus; see current_holds.sql and
-- load_distributed.sql.
--
-- $1 tenant_id
-- $2 user_id: an array
-- $3 holder: an array
select holder
from presence_sessions
where tenant_id = $1
  and user_id = any($2::text[])
  and holder = any($3::uuid[])
  and cleared_at is null
