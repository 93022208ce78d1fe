-- Counts users of one tenant; see Store::count_users.
--
-- ?1 tenant_id, ?2 now
select count(distinct user_id)
from presence_sessions
where tenant_id = ?1
  and cleared_at is null
  and expires_at > ?2
