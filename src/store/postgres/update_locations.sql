-- Sets or clears the work locations of a user; see Store::update_user.
--
-- $1 tenant_id, $2 user_id
-- $3 now
-- $4 set_by_application, $5 set_by_user
-- $6 whether the manual location changes, $7 manual_location_type, $8 manual_place_id
-- $9 whether the automatic location changes, $10 automatic_location_type, $11 automatic_place_id
-- $12 whether spans that end are kept
-- $13 the time after which the statement is late and changes nothing
--
-- A location that changes has the time `..._location_set_at`, also in `excluded`. Its other columns
-- are null if it is cleared. The author of the two locations is that of the one that was set last.
-- Returns one row. No row means that the statement was late.
-- The columns of a subquery are in the order of the table, with no other assignment between: Citus
-- needs that.
with written as (
    insert into presence_users as p (
        tenant_id, user_id, changed_at,
        manual_location_type, manual_place_id,
        manual_location_set_at, manual_location_set_by_application, manual_location_set_by_user,
        automatic_location_type, automatic_place_id,
        automatic_location_set_at, automatic_location_set_by_application, automatic_location_set_by_user,
        locations_started_at
    )
    select $1::uuid, $2::text, case when coalesce($7::text, $10::text) is not null then at.now end,
           $7, $8::text,
           case when $6::boolean then at.now end, case when $6 then $4::text end, case when $6 then $5::text end,
           $10, $11::text,
           case when $9::boolean then at.now end, case when $9 then $4 end, case when $9 then $5 end,
           at.now
    from (select $3::bigint as now) as at
    where extract(epoch from statement_timestamp()) * 1000 <= $13::bigint
    on conflict (tenant_id, user_id) do update set
        (
            manual_location_type, manual_place_id,
            manual_location_set_at,
            manual_location_set_by_application, manual_location_set_by_user
        ) = (
            select excluded.manual_location_type, excluded.manual_place_id,
                   greatest(excluded.manual_location_set_at, p.manual_location_set_at, p.automatic_location_set_at + 1),
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
                   greatest(excluded.automatic_location_set_at, p.automatic_location_set_at, p.manual_location_set_at + 1),
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
            then greatest(
                excluded.manual_location_set_at,
                excluded.automatic_location_set_at,
                p.manual_location_set_at + 1,
                p.automatic_location_set_at + 1,
                p.changed_at + 1
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
                       when write.changes then greatest(excluded.locations_started_at, p.locations_started_at)
                       else p.locations_started_at
                   end,
                   ended.part, null::text, null::text, null::text,
                   ended.manual_location_type, ended.manual_place_id,
                   ended.automatic_location_type, ended.automatic_place_id,
                   ended.started_at, ended.ended_at, ended.end_reason,
                   ended.set_at, ended.set_by_application, ended.set_by_user
            from (
                select (
                    excluded.manual_location_set_at is not null
                    and coalesce(excluded.manual_location_type, p.manual_location_type) is not null
                    and (
                        excluded.manual_location_type is distinct from p.manual_location_type
                        or excluded.manual_place_id is distinct from p.manual_place_id
                        or excluded.manual_location_set_by_application is distinct from author.application
                        or excluded.manual_location_set_by_user is distinct from author.name
                    )
                ) or (
                    excluded.automatic_location_set_at is not null
                    and coalesce(excluded.automatic_location_type, p.automatic_location_type) is not null
                    and (
                        excluded.automatic_location_type is distinct from p.automatic_location_type
                        or excluded.automatic_place_id is distinct from p.automatic_place_id
                        or excluded.automatic_location_set_by_application is distinct from author.application
                        or excluded.automatic_location_set_by_user is distinct from author.name
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
                       greatest(excluded.locations_started_at, p.locations_started_at) as ended_at,
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
    returning
        tenant_id, user_id, coalesce(changed_at >= greatest(manual_location_set_at, automatic_location_set_at), false) as changed,
        previous_part, previous_availability, previous_activity, previous_content,
        previous_manual_location_type, previous_manual_place_id,
        previous_automatic_location_type, previous_automatic_place_id,
        previous_started_at, previous_ended_at, previous_end_reason,
        previous_set_at, previous_set_by_application, previous_set_by_user
), appended as (
    insert into presence_history (
        tenant_id, user_id, part, started_at, ended_at,
        availability, activity, content,
        manual_location_type, manual_place_id, automatic_location_type, automatic_place_id,
        set_at, set_by_application, set_by_user, end_reason, ended_by_application, ended_by_user
    )
    select tenant_id, user_id, previous_part, previous_started_at, previous_ended_at,
           previous_availability, previous_activity, previous_content,
           previous_manual_location_type, previous_manual_place_id,
           previous_automatic_location_type, previous_automatic_place_id,
           previous_set_at, previous_set_by_application, previous_set_by_user, previous_end_reason,
           case when previous_end_reason <> 'expired' then $4 end,
           case when previous_end_reason <> 'expired' then $5 end
    from written
    where previous_ended_at is not null
      and $12::boolean
)
select tenant_id, user_id, changed, $12 and previous_ended_at is not null as appended,
    case when changed then pg_notify('presence_changes', tenant_id || ' ' || user_id) end
from written
