-- Returns all rows of a user in presence_sessions; see Store::export_user.
--
-- $1 tenant_id, $2 user_id
select *
from presence_sessions
where tenant_id = $1
  and user_id = $2
order by session_id
