-- Reads one user; see load.sql, which reads several.
--
-- ?1 tenant_id
-- ?2 user_id
select user_id, session_id, availability, activity, set_at, changed_at, expires_at, cleared_at, opened_at,
       null, null, null, message, null, null, null, null, null, null
from presence_sessions
where tenant_id = ?1
  and user_id = ?2
  and availability is not null
union all
select user_id, null, null, null, null, changed_at, null, null, null,
       preferred_availability, preferred_activity, preferred_expires_at,
       status_content, status_set_at, status_expires_at,
       manual_location_type, manual_place_id,
       automatic_location_type, automatic_place_id
from presence_users
where tenant_id = ?1
  and user_id = ?2
