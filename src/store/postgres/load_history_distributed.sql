-- Reads users of one tenant with their history on Citus; see load_history.sql.
--
-- $1 tenant_id
-- $2 user_id: an array
-- $3 only spans that started before this time
-- $4 the maximum number of spans of each user, those that ended last
--
-- Returns the rows of load.sql, and one row with a part for each span: of the values in the user's
-- own row, which have no `end_reason`, and of the history.
select user_id, session_id, availability, activity, set_at, changed_at, expires_at, cleared_at, opened_at,
       null::text as preferred_availability, null::text as preferred_activity, null::bigint as preferred_expires_at,
       message as status_content, null::bigint as status_set_at, null::bigint as status_expires_at,
       null::text as manual_location_type, null::text as manual_place_id,
       null::text as automatic_location_type, null::text as automatic_place_id,
       null::text as part, started_at, null::bigint as ended_at, set_by_application, set_by_user,
       null::text as end_reason, null::text as ended_by_application, null::text as ended_by_user
from presence_sessions
where tenant_id = $1
  and user_id = any($2::text[])
  and availability is not null
union all
select user_id, null, null, null, null, changed_at, null, null, null,
       preferred_availability, preferred_activity, preferred_expires_at,
       status_content, status_set_at, status_expires_at,
       manual_location_type, manual_place_id,
       automatic_location_type, automatic_place_id,
       null, null, null, null, null, null, null, null
from presence_users
where tenant_id = $1
  and user_id = any($2::text[])
union all
select user_id, null, preferred_availability, preferred_activity, preferred_set_at, null, null, null, null,
       null, null, null, null, null, null, null, null, null, null,
       'preference', preferred_started_at, preferred_expires_at,
       preferred_set_by_application, preferred_set_by_user, null, null, null
from presence_users
where tenant_id = $1
  and user_id = any($2::text[])
  and preferred_availability is not null
union all
select user_id, null, null, null, status_set_at, null, null, null, null,
       null, null, null, status_content, null, null, null, null, null, null,
       'message', status_started_at, status_expires_at,
       status_set_by_application, status_set_by_user, null, null, null
from presence_users
where tenant_id = $1
  and user_id = any($2::text[])
  and status_content is not null
union all
select user_id, null, null, null, case when manual_location_type is not null and (automatic_location_type is null or manual_location_set_at >= automatic_location_set_at) then manual_location_set_at else automatic_location_set_at end, null, null, null, null,
       null, null, null, null, null, null,
       manual_location_type, manual_place_id, automatic_location_type, automatic_place_id,
       'locations', locations_started_at, null,
       case when manual_location_type is not null and (automatic_location_type is null or manual_location_set_at >= automatic_location_set_at) then manual_location_set_by_application else automatic_location_set_by_application end,
       case when manual_location_type is not null and (automatic_location_type is null or manual_location_set_at >= automatic_location_set_at) then manual_location_set_by_user else automatic_location_set_by_user end,
       null, null, null
from presence_users
where tenant_id = $1
  and user_id = any($2::text[])
  and coalesce(manual_location_type, automatic_location_type) is not null
union all
select user_id, session_id, availability, activity, set_at, changed_at, null, null, null,
       null, null, null, content, null, null,
       manual_location_type, manual_place_id, automatic_location_type, automatic_place_id,
       part, started_at, ended_at, set_by_application, set_by_user,
       end_reason, ended_by_application, ended_by_user
from (
    select *, row_number() over (partition by tenant_id, user_id order by ended_at desc) as ordinal
    from presence_history
    where tenant_id = $1
      and user_id = any($2::text[])
      and started_at < $3
) as h
where ordinal <= $4
