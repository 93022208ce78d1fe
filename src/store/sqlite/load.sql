-- Reads users of one tenant; see Store::load.
--
-- ?1 tenant_id
-- ?2 user_id: a JSON array
--
-- Returns one row for each session, and one row without a session id for the user's own row. The
-- thirteenth column is the text of the session or the status message.
-- Ended sessions count, too: the time of their end is part of the sequence number.
select user_id, session_id, availability, activity, set_at, changed_at, expires_at, cleared_at, opened_at,
       null, null, null, message, null, null, null, null, null, null
from presence_sessions
where tenant_id = ?1
  and user_id in (select value from json_each(?2))
  and availability is not null
union all
select user_id, null, null, null, null, changed_at, null, null, null,
       preferred_availability, preferred_activity, preferred_expires_at,
       status_content, status_set_at, status_expires_at,
       manual_location_type, manual_place_id,
       automatic_location_type, automatic_place_id
from presence_users
where tenant_id = ?1
  and user_id in (select value from json_each(?2))
