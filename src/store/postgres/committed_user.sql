-- Returns the row of a user that a write of now or later has reached; see committed.rs.
--
-- $1 tenant_id, $2 user_id
-- $3 now
select user_id
from presence_users
where tenant_id = $1
  and user_id = $2
  and greatest(preferred_set_at, status_set_at, manual_location_set_at, automatic_location_set_at) >= $3
