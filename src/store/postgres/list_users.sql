-- Lists users of one tenant; see Store::list_users.
--
-- $1 tenant_id, $2 only users after this id, $3 now, $4 the maximum number of users
select distinct user_id
from presence_sessions
where tenant_id = $1
  and user_id > $2
  and cleared_at is null
  and expires_at > $3
order by user_id
limit $4
