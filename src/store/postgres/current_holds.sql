-- Returns the streams that still hold a session; see Store::current_holds.
--
-- $1 tenant_id
-- $2 user_id: an array
-- $3 holder: an array
--
-- `offset 0` keeps the subquery apart, so that each user is looked up by the key; see load.sql.
select s.holder
from unnest($2::text[]) as requested (user_id)
cross join lateral (
    select holder
    from presence_sessions
    where tenant_id = $1
      and user_id = requested.user_id
      and holder = any($3::uuid[])
      and cleared_at is null
    offset 0
) as s
