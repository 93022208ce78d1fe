-- Reads a user with the history, in one snapshot; see Store::load_history.
--
-- ?1 tenant_id
-- ?2 user_id
-- ?3 only spans that started before this time
-- ?4 the maximum number of spans of each user, those that ended last
--
-- Returns the rows of load.sql, and one row with a part for each span: of the values in the user's
-- own row, which have no `end_reason`, and of the history. A row with the part `start` has the
-- start of the complete history, if spans were removed or left out.
select user_id, session_id, availability, activity, set_at, changed_at, expires_at, cleared_at, opened_at,
       null as preferred_availability, null as preferred_activity, null as preferred_expires_at,
       message as status_content, null as status_set_at, null as status_expires_at,
       null as manual_location_type, null as manual_place_id,
       null as automatic_location_type, null as automatic_place_id,
       null as part, started_at, null as ended_at, set_by_application, set_by_user,
       null as end_reason, null as ended_by_application, null as ended_by_user
from presence_sessions
where tenant_id = ?1
  and user_id = ?2
  and availability is not null
union all
select user_id, null, null, null, null, changed_at, null, null, null,
       preferred_availability, preferred_activity, preferred_expires_at,
       status_content, status_set_at, status_expires_at,
       manual_location_type, manual_place_id,
       automatic_location_type, automatic_place_id,
       null, null, null, null, null, null, null, null
from presence_users
where tenant_id = ?1
  and user_id = ?2
union all
select user_id, null, preferred_availability, preferred_activity, preferred_set_at, null, null, null, null,
       null, null, null, null, null, null, null, null, null, null,
       'preference', preferred_started_at, preferred_expires_at,
       preferred_set_by_application, preferred_set_by_user, null, null, null
from presence_users
where tenant_id = ?1
  and user_id = ?2
  and preferred_availability is not null
union all
select user_id, null, null, null, status_set_at, null, null, null, null,
       null, null, null, status_content, null, null, null, null, null, null,
       'message', status_started_at, status_expires_at,
       status_set_by_application, status_set_by_user, null, null, null
from presence_users
where tenant_id = ?1
  and user_id = ?2
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
where tenant_id = ?1
  and user_id = ?2
  and coalesce(manual_location_type, automatic_location_type) is not null
union all
select * from (
    select user_id, session_id, availability, activity, set_at, changed_at,
           null as expires_at, null as cleared_at, null as opened_at,
           null as preferred_availability, null as preferred_activity, null as preferred_expires_at,
           content, null as status_set_at, null as status_expires_at,
           manual_location_type, manual_place_id, automatic_location_type, automatic_place_id,
           part, started_at, ended_at, set_by_application, set_by_user,
           end_reason, ended_by_application, ended_by_user
    from presence_history
    where tenant_id = ?1
      and user_id = ?2
      and started_at < ?3
    order by ended_at desc
    limit ?4
) as h
union all
select '', null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
       'start', until, null, null, null, null, null, null
from presence_leases
where name = 'history'
