-- Reads the next sessions in key order; see Store::scan_sessions.
--
-- ?1 tenant_id, ?2 user_id, ?3 session_id: only sessions after this key
-- ?4 the maximum number of sessions
select tenant_id, user_id, session_id, set_at, min(coalesce(cleared_at, expires_at), expires_at) as ends_at
from presence_sessions
where (tenant_id, user_id, session_id) > (?1, ?2, ?3)
order by tenant_id, user_id, session_id
limit ?4
