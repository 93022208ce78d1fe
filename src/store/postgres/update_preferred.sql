-- Sets or clears the preferred presence of a user; see Store::update_user.
--
-- $1 tenant_id, $2 user_id
-- $3 now
-- $4 set_by_application, $5 set_by_user
-- $6 preferred_availability, $7 preferred_activity, $8 preferred_expires_at: null to clear
-- $9 whether spans that end are kept
-- $10 the time after which the statement is late and changes nothing
--
-- Returns one row. No row means that the statement was late.
-- The columns of a subquery are in the order of the table, with no other assignment between: Citus
-- needs that.
-- From here on the preference hides the changes of sessions, so its time is not before theirs.
-- 3000 ms are SETTLES_AFTER: a reader may see the expiry before this write commits.
with written as (
    insert into presence_users as p (
        tenant_id, user_id, changed_at,
        preferred_availability, preferred_activity, preferred_expires_at,
        preferred_started_at, preferred_set_at, preferred_set_by_application, preferred_set_by_user
    )
    select $1::uuid, $2::text,
           case
               when $6::text is not null then greatest(
                   at.now,
                   (
                       select max(greatest(s.changed_at, s.cleared_at))
                       from presence_sessions as s
                       where s.tenant_id = $1 and s.user_id = $2
                   )
               )
           end,
           $6, $7::text, $8::bigint,
           at.now, at.now, $4::text, $5::text
    from (select $3::bigint as now) as at
    where extract(epoch from statement_timestamp()) * 1000 <= $10::bigint
    on conflict (tenant_id, user_id) do update set
        preferred_availability       = excluded.preferred_availability,
        preferred_activity           = excluded.preferred_activity,
        preferred_expires_at         = excluded.preferred_expires_at,
        preferred_set_at             = excluded.preferred_set_at,
        preferred_set_by_application = excluded.preferred_set_by_application,
        preferred_set_by_user        = excluded.preferred_set_by_user,
        changed_at                   = case
            when coalesce(excluded.preferred_availability, p.preferred_availability) is null then p.changed_at
            else greatest(
                excluded.preferred_set_at,
                excluded.changed_at,
                p.changed_at + 1,
                case when p.preferred_expires_at <= excluded.preferred_set_at + 3000 then p.preferred_expires_at + 1 end
            )
        end,
        (
            preferred_started_at, previous_part, previous_availability, previous_activity, previous_content,
            previous_manual_location_type, previous_manual_place_id,
            previous_automatic_location_type, previous_automatic_place_id,
            previous_started_at, previous_ended_at, previous_end_reason,
            previous_set_at, previous_set_by_application, previous_set_by_user
        ) = (
            select case
                       when write.repeats then p.preferred_started_at
                       else greatest(excluded.preferred_set_at, p.preferred_started_at)
                   end,
                   ended.part, ended.availability, ended.activity, null::text,
                   null::text, null::text, null::text, null::text,
                   ended.started_at, ended.ended_at, ended.end_reason,
                   ended.set_at, ended.set_by_application, ended.set_by_user
            from (
                select coalesce(
                    p.preferred_availability = excluded.preferred_availability
                        and p.preferred_activity = excluded.preferred_activity
                        and p.preferred_expires_at > excluded.preferred_set_at
                        and p.preferred_set_by_application is not distinct from excluded.preferred_set_by_application
                        and p.preferred_set_by_user is not distinct from excluded.preferred_set_by_user,
                    false
                ) as repeats
            ) as write
            left join (
                select 'preference' as part, p.preferred_availability as availability, p.preferred_activity as activity,
                       p.preferred_started_at as started_at,
                       greatest(p.preferred_started_at, least(excluded.preferred_set_at, p.preferred_expires_at)) as ended_at,
                       case
                           when p.preferred_expires_at <= excluded.preferred_set_at then 'expired'
                           when excluded.preferred_availability is null then 'cleared'
                           else 'changed'
                       end as end_reason,
                       p.preferred_set_at as set_at,
                       p.preferred_set_by_application as set_by_application,
                       p.preferred_set_by_user as set_by_user
            ) as ended on p.preferred_availability is not null and not write.repeats
        )
    returning
        tenant_id, user_id, coalesce(changed_at >= preferred_set_at, false) as changed,
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
      and $9::boolean
)
select tenant_id, user_id, changed, $9 and previous_ended_at is not null as appended,
    case when changed then pg_notify('presence_changes', tenant_id || ' ' || user_id) end
from written
