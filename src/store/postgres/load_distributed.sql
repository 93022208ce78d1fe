-- Reads users of one tenant on Citus; see load.sql. Citus sends it only to the shards of these
-- users, and plans it for them each time.
--
-- $1 tenant_id
-- $2 user_id: an array
--
-- Returns one row for each session, and one row without a session id for the user's own row. Of a
-- session, `status_content` is its text.
-- Ended sessions count, too: the time of their end is part of the sequence number.
select user_id, session_id, availability, activity, set_at, changed_at, expires_at, cleared_at, opened_at,
       null::text as preferred_availability, null::text as preferred_activity, null::bigint as preferred_expires_at,
       message as status_content, null::bigint as status_set_at, null::bigint as status_expires_at,
       null::text as manual_location_type, null::text as manual_place_id,
       null::text as automatic_location_type, null::text as automatic_place_id
from presence_sessions
where tenant_id = $1
  and user_id = any($2::text[])
  and availability is not null
union all
select user_id, null, null, null, null, changed_at, null, null, null,
       preferred_availability, preferred_activity, preferred_expires_at,
       status_content, status_set_at, status_expires_at,
       manual_location_type, manual_place_id,
       automatic_location_type, automatic_place_id
from presence_users
where tenant_id = $1
  and user_id = any($2::text[])
