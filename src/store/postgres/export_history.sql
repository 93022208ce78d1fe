-- Returns all rows of a user in presence_history; see Store::export_user.
--
-- $1 tenant_id, $2 user_id
select *
from presence_history
where tenant_id = $1
  and user_id = $2
order by ended_at
