-- Sets or clears the work locations of a user; see Store::update_user.
--
-- ?1 tenant_id, ?2 user_id
-- ?3 now
-- ?4 set_by_application, ?5 set_by_user
-- ?6 whether the manual location changes, ?7 manual_location_type, ?8 manual_place_id
-- ?9 whether the automatic location changes, ?10 automatic_location_type, ?11 automatic_place_id
--
-- A location that changes has the time `..._location_set_at`, also in `excluded`. Its other columns
-- are null if it is cleared. The author of the two locations is that of the one that was set last.
-- Returns one row.
insert into presence_users as p (
    tenant_id, user_id, changed_at,
    manual_location_type, manual_place_id,
    manual_location_set_at, manual_location_set_by_application, manual_location_set_by_user,
    automatic_location_type, automatic_place_id,
    automatic_location_set_at, automatic_location_set_by_application, automatic_location_set_by_user,
    locations_started_at
)
select ?1, ?2, case when coalesce(?7, ?10) is not null then at.now end,
       ?7, ?8,
       case when ?6 then at.now end, case when ?6 then ?4 end, case when ?6 then ?5 end,
       ?10, ?11,
       case when ?9 then at.now end, case when ?9 then ?4 end, case when ?9 then ?5 end,
       at.now
from (select ?3 as now) as at
where true
on conflict (tenant_id, user_id) do update set
    (
        manual_location_type, manual_place_id,
        manual_location_set_at,
        manual_location_set_by_application, manual_location_set_by_user
    ) = (
        select excluded.manual_location_type, excluded.manual_place_id,
               max(coalesce(excluded.manual_location_set_at, 0), coalesce(p.manual_location_set_at, 0), coalesce(p.automatic_location_set_at + 1, 0)),
               excluded.manual_location_set_by_application, excluded.manual_location_set_by_user
        where excluded.manual_location_set_at is not null
        union all
        select p.manual_location_type, p.manual_place_id,
               p.manual_location_set_at,
               p.manual_location_set_by_application, p.manual_location_set_by_user
        where excluded.manual_location_set_at is null
    ),
    (
        automatic_location_type, automatic_place_id,
        automatic_location_set_at,
        automatic_location_set_by_application, automatic_location_set_by_user
    ) = (
        select excluded.automatic_location_type, excluded.automatic_place_id,
               max(coalesce(excluded.automatic_location_set_at, 0), coalesce(p.automatic_location_set_at, 0), coalesce(p.manual_location_set_at + 1, 0)),
               excluded.automatic_location_set_by_application, excluded.automatic_location_set_by_user
        where excluded.automatic_location_set_at is not null
        union all
        select p.automatic_location_type, p.automatic_place_id,
               p.automatic_location_set_at,
               p.automatic_location_set_by_application, p.automatic_location_set_by_user
        where excluded.automatic_location_set_at is null
    ),
    changed_at = case
        when (
              excluded.manual_location_set_at is not null
              and coalesce(excluded.manual_location_type, p.manual_location_type) is not null
          )
          or (
              excluded.automatic_location_set_at is not null
              and coalesce(excluded.automatic_location_type, p.automatic_location_type) is not null
          )
        then max(
            coalesce(excluded.manual_location_set_at, 0),
            coalesce(excluded.automatic_location_set_at, 0),
            coalesce(p.manual_location_set_at + 1, 0),
            coalesce(p.automatic_location_set_at + 1, 0),
            coalesce(p.changed_at + 1, 0)
        )
        else p.changed_at
    end,
    (
        locations_started_at, previous_part, previous_availability, previous_activity, previous_content,
        previous_manual_location_type, previous_manual_place_id,
        previous_automatic_location_type, previous_automatic_place_id,
        previous_started_at, previous_ended_at, previous_end_reason,
        previous_set_at, previous_set_by_application, previous_set_by_user
    ) = (
        select case
                   when write.changes then max(excluded.locations_started_at, coalesce(p.locations_started_at, 0))
                   else p.locations_started_at
               end,
               ended.part, null, null, null,
               ended.manual_location_type, ended.manual_place_id,
               ended.automatic_location_type, ended.automatic_place_id,
               ended.started_at, ended.ended_at, ended.end_reason,
               ended.set_at, ended.set_by_application, ended.set_by_user
        from (
            select (
                excluded.manual_location_set_at is not null
                and coalesce(excluded.manual_location_type, p.manual_location_type) is not null
                and (
                    excluded.manual_location_type is not p.manual_location_type
                    or excluded.manual_place_id is not p.manual_place_id
                    or excluded.manual_location_set_by_application is not author.application
                    or excluded.manual_location_set_by_user is not author.name
                )
            ) or (
                excluded.automatic_location_set_at is not null
                and coalesce(excluded.automatic_location_type, p.automatic_location_type) is not null
                and (
                    excluded.automatic_location_type is not p.automatic_location_type
                    or excluded.automatic_place_id is not p.automatic_place_id
                    or excluded.automatic_location_set_by_application is not author.application
                    or excluded.automatic_location_set_by_user is not author.name
                )
            ) as changes
            from (
                select case when p.manual_location_type is not null
                         and (
                             p.automatic_location_type is null
                             or p.manual_location_set_at >= p.automatic_location_set_at
                         ) then p.manual_location_set_by_application else p.automatic_location_set_by_application end as application,
                       case when p.manual_location_type is not null
                         and (
                             p.automatic_location_type is null
                             or p.manual_location_set_at >= p.automatic_location_set_at
                         ) then p.manual_location_set_by_user else p.automatic_location_set_by_user end as name
            ) as author
        ) as write
        left join (
            select 'locations' as part,
                   p.manual_location_type, p.manual_place_id,
                   p.automatic_location_type, p.automatic_place_id,
                   p.locations_started_at as started_at,
                   max(excluded.locations_started_at, coalesce(p.locations_started_at, 0)) as ended_at,
                   case
                       when (excluded.manual_location_set_at is null and p.manual_location_type is not null)
                         or (excluded.automatic_location_set_at is null and p.automatic_location_type is not null)
                         or coalesce(excluded.manual_location_type, excluded.automatic_location_type) is not null
                       then 'changed'
                       else 'cleared'
                   end as end_reason,
                   case
                       when p.manual_location_type is not null
                         and (
                             p.automatic_location_type is null
                             or p.manual_location_set_at >= p.automatic_location_set_at
                         )
                       then p.manual_location_set_at
                       else p.automatic_location_set_at
                   end as set_at,
                   case
                       when p.manual_location_type is not null
                         and (
                             p.automatic_location_type is null
                             or p.manual_location_set_at >= p.automatic_location_set_at
                         )
                       then p.manual_location_set_by_application
                       else p.automatic_location_set_by_application
                   end as set_by_application,
                   case
                       when p.manual_location_type is not null
                         and (
                             p.automatic_location_type is null
                             or p.manual_location_set_at >= p.automatic_location_set_at
                         )
                       then p.manual_location_set_by_user
                       else p.automatic_location_set_by_user
                   end as set_by_user
        ) as ended on write.changes and coalesce(p.manual_location_type, p.automatic_location_type) is not null
    )
returning coalesce(changed_at >= max(coalesce(manual_location_set_at, 0), coalesce(automatic_location_set_at, 0)), false)
