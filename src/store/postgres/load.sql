-- Reads users of one tenant; see Store::load.
--
-- $1 tenant_id
-- $2 user_id: an array
--
-- Returns one row for each session, and one row without a session id for the user's own row. Of a
-- session, `status_content` is its text.
-- Ended sessions count, too: the time of their end is part of the sequence number.
--
-- `offset 0` keeps the subquery apart, so that each user is looked up by the key. With
-- `user_id = any($2)`, a plan made for an empty table, or for small tenants, reads all rows of
-- the tenant.
select s.user_id, s.session_id, s.availability, s.activity, s.set_at, s.changed_at, s.expires_at, s.cleared_at, s.opened_at,
       null::text as preferred_availability, null::text as preferred_activity, null::bigint as preferred_expires_at,
       s.message as status_content, null::bigint as status_set_at, null::bigint as status_expires_at,
       null::text as manual_location_type, null::text as manual_place_id,
       null::text as automatic_location_type, null::text as automatic_place_id
from unnest($2::text[]) as requested (user_id)
cross join lateral (
    select user_id, session_id, availability, activity, message, set_at, changed_at, expires_at, cleared_at, opened_at
    from presence_sessions
    where tenant_id = $1
      and user_id = requested.user_id
      and availability is not null
    offset 0
) as s
union all
select p.user_id, null, null, null, null, p.changed_at, null, null, null,
       p.preferred_availability, p.preferred_activity, p.preferred_expires_at,
       p.status_content, p.status_set_at, p.status_expires_at,
       p.manual_location_type, p.manual_place_id,
       p.automatic_location_type, p.automatic_place_id
from unnest($2::text[]) as requested (user_id)
cross join lateral (
    select *
    from presence_users
    where tenant_id = $1
      and user_id = requested.user_id
    offset 0
) as p
