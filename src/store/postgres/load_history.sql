-- Reads users of one tenant with their history, in one snapshot; see Store::load_history.
--
-- $1 tenant_id
-- $2 user_id: an array
-- $3 only spans that started before this time
-- $4 the maximum number of spans of each user, those that ended last
--
-- Returns the rows of load.sql, and one row with a part for each span: of the values in the user's
-- own row, which have no `end_reason`, and of the history. A row with the part `start` has the
-- start of the complete history, if spans were removed or left out.
select u.*
from unnest($2::text[]) as requested (user_id)
cross join lateral (
    select user_id, session_id, availability, activity, set_at, changed_at, expires_at, cleared_at, opened_at,
           null::text as preferred_availability, null::text as preferred_activity, null::bigint as preferred_expires_at,
           message as status_content, null::bigint as status_set_at, null::bigint as status_expires_at,
           null::text as manual_location_type, null::text as manual_place_id,
           null::text as automatic_location_type, null::text as automatic_place_id,
           null::text as part, started_at, null::bigint as ended_at, set_by_application, set_by_user,
           null::text as end_reason, null::text as ended_by_application, null::text as ended_by_user
    from presence_sessions
    where tenant_id = $1
      and user_id = requested.user_id
      and availability is not null
    union all
    select p.user_id, null,
           case part when 'preference' then p.preferred_availability end,
           case part when 'preference' then p.preferred_activity end,
           case part
               when 'preference' then p.preferred_set_at
               when 'message' then p.status_set_at
               when 'locations' then case
                   when p.manual_location_type is not null
                    and (p.automatic_location_type is null or p.manual_location_set_at >= p.automatic_location_set_at)
                   then p.manual_location_set_at
                   else p.automatic_location_set_at
               end
           end,
           p.changed_at, null, null, null,
           p.preferred_availability, p.preferred_activity, p.preferred_expires_at,
           p.status_content, p.status_set_at, p.status_expires_at,
           p.manual_location_type, p.manual_place_id,
           p.automatic_location_type, p.automatic_place_id,
           part,
           case part
               when 'preference' then p.preferred_started_at
               when 'message' then p.status_started_at
               when 'locations' then p.locations_started_at
           end,
           case part when 'preference' then p.preferred_expires_at when 'message' then p.status_expires_at end,
           case part
               when 'preference' then p.preferred_set_by_application
               when 'message' then p.status_set_by_application
               when 'locations' then case
                   when p.manual_location_type is not null
                    and (p.automatic_location_type is null or p.manual_location_set_at >= p.automatic_location_set_at)
                   then p.manual_location_set_by_application
                   else p.automatic_location_set_by_application
               end
           end,
           case part
               when 'preference' then p.preferred_set_by_user
               when 'message' then p.status_set_by_user
               when 'locations' then case
                   when p.manual_location_type is not null
                    and (p.automatic_location_type is null or p.manual_location_set_at >= p.automatic_location_set_at)
                   then p.manual_location_set_by_user
                   else p.automatic_location_set_by_user
               end
           end,
           null, null, null
    from presence_users as p
    cross join (values (null), ('preference'), ('message'), ('locations')) as parts (part)
    where p.tenant_id = $1
      and p.user_id = requested.user_id
      and case part
          when 'preference' then p.preferred_availability is not null
          when 'message' then p.status_content is not null
          when 'locations' then coalesce(p.manual_location_type, p.automatic_location_type) is not null
          else true
      end
    union all
    select * from (
        select user_id, session_id, availability, activity, set_at, changed_at,
               null::bigint as expires_at, null::bigint as cleared_at, null::bigint as opened_at,
               null::text as preferred_availability, null::text as preferred_activity, null::bigint as preferred_expires_at,
               content, null::bigint as status_set_at, null::bigint as status_expires_at,
               manual_location_type, manual_place_id, automatic_location_type, automatic_place_id,
               part, started_at, ended_at, set_by_application, set_by_user,
               end_reason, ended_by_application, ended_by_user
        from presence_history
        where tenant_id = $1
          and user_id = requested.user_id
          and started_at < $3
        order by ended_at desc
        limit $4
    ) as h
) as u
union all
select '', null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
       'start', until, null, null, null, null, null, null
from presence_leases
where name = 'history'
