-- Sets or clears the status message of a user; see Store::update_user.
--
-- $1 tenant_id, $2 user_id
-- $3 now
-- $4 set_by_application, $5 set_by_user
-- $6 status_content: null to clear
-- $7 status_expires_at: null if it does not expire
-- $8 whether spans that end are kept
-- $9 the time after which the statement is late and changes nothing
--
-- Returns one row. No row means that the statement was late.
-- The columns of a subquery are in the order of the table, with no other assignment between: Citus
-- needs that.
-- 3000 ms are SETTLES_AFTER: a reader may see the expiry before this write commits.
with written as (
    insert into presence_users as p (
        tenant_id, user_id, changed_at,
        status_content, status_expires_at,
        status_started_at, status_set_at, status_set_by_application, status_set_by_user
    )
    select $1::uuid, $2::text, case when $6::text is not null then at.now end,
           $6, $7::bigint,
           at.now, at.now, $4::text, $5::text
    from (select $3::bigint as now) as at
    where extract(epoch from statement_timestamp()) * 1000 <= $9::bigint
    on conflict (tenant_id, user_id) do update set
        status_content            = excluded.status_content,
        status_expires_at         = excluded.status_expires_at,
        status_set_at             = excluded.status_set_at,
        status_set_by_application = excluded.status_set_by_application,
        status_set_by_user        = excluded.status_set_by_user,
        changed_at                = case
            when coalesce(excluded.status_content, p.status_content) is null then p.changed_at
            else greatest(
                excluded.status_set_at,
                p.changed_at + 1,
                case when p.status_expires_at <= excluded.status_set_at + 3000 then p.status_expires_at + 1 end
            )
        end,
        (
            status_started_at, previous_part, previous_availability, previous_activity, previous_content,
            previous_manual_location_type, previous_manual_place_id,
            previous_automatic_location_type, previous_automatic_place_id,
            previous_started_at, previous_ended_at, previous_end_reason,
            previous_set_at, previous_set_by_application, previous_set_by_user
        ) = (
            select case
                       when write.repeats then p.status_started_at
                       else greatest(excluded.status_set_at, p.status_started_at)
                   end,
                   ended.part, null::text, null::text, ended.content,
                   null::text, null::text, null::text, null::text,
                   ended.started_at, ended.ended_at, ended.end_reason,
                   ended.set_at, ended.set_by_application, ended.set_by_user
            from (
                select coalesce(
                    p.status_content = excluded.status_content
                        and (p.status_expires_at is null or p.status_expires_at > excluded.status_set_at)
                        and p.status_set_by_application is not distinct from excluded.status_set_by_application
                        and p.status_set_by_user is not distinct from excluded.status_set_by_user,
                    false
                ) as repeats
            ) as write
            left join (
                select 'message' as part, p.status_content as content,
                       p.status_started_at as started_at,
                       greatest(p.status_started_at, least(excluded.status_set_at, p.status_expires_at)) as ended_at,
                       case
                           when p.status_expires_at <= excluded.status_set_at then 'expired'
                           when excluded.status_content is null then 'cleared'
                           else 'changed'
                       end as end_reason,
                       p.status_set_at as set_at,
                       p.status_set_by_application as set_by_application,
                       p.status_set_by_user as set_by_user
            ) as ended on p.status_content is not null and not write.repeats
        )
    returning
        tenant_id, user_id, coalesce(changed_at >= status_set_at, false) as changed,
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
      and $8::boolean
)
select tenant_id, user_id, changed, $8 and previous_ended_at is not null as appended,
    case when changed then pg_notify('presence_changes', tenant_id || ' ' || user_id) end
from written
