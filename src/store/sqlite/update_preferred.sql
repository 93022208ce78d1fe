-- Sets or clears the preferred presence of a user; see Store::update_user.
--
-- ?1 tenant_id, ?2 user_id
-- ?3 now
-- ?4 set_by_application, ?5 set_by_user
-- ?6 preferred_availability, ?7 preferred_activity, ?8 preferred_expires_at: null to clear
--
-- Returns one row.
-- From here on the preference hides the changes of sessions, so its time is not before theirs.
-- 3000 ms are SETTLES_AFTER: a reader may see the expiry before this write commits.
insert into presence_users as p (
    tenant_id, user_id, changed_at,
    preferred_availability, preferred_activity, preferred_expires_at,
    preferred_started_at, preferred_set_at, preferred_set_by_application, preferred_set_by_user
)
select ?1, ?2,
       case
           when ?6 is not null then max(
               at.now,
               coalesce((
                   select max(max(coalesce(s.changed_at, 0), coalesce(s.cleared_at, 0)))
                   from presence_sessions as s
                   where s.tenant_id = ?1 and s.user_id = ?2
               ), 0)
           )
       end,
       ?6, ?7, ?8,
       at.now, at.now, ?4, ?5
from (select ?3 as now) as at
where true
on conflict (tenant_id, user_id) do update set
    preferred_availability       = excluded.preferred_availability,
    preferred_activity           = excluded.preferred_activity,
    preferred_expires_at         = excluded.preferred_expires_at,
    preferred_set_at             = excluded.preferred_set_at,
    preferred_set_by_application = excluded.preferred_set_by_application,
    preferred_set_by_user        = excluded.preferred_set_by_user,
    changed_at                   = case
        when coalesce(excluded.preferred_availability, p.preferred_availability) is null then p.changed_at
        else max(
            excluded.preferred_set_at,
            coalesce(excluded.changed_at, 0),
            coalesce(p.changed_at + 1, 0),
            coalesce(case when p.preferred_expires_at <= excluded.preferred_set_at + 3000 then p.preferred_expires_at + 1 end, 0)
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
                   else max(excluded.preferred_set_at, coalesce(p.preferred_started_at, 0))
               end,
               ended.part, ended.availability, ended.activity, null,
               null, null, null, null,
               ended.started_at, ended.ended_at, ended.end_reason,
               ended.set_at, ended.set_by_application, ended.set_by_user
        from (
            select coalesce(
                p.preferred_availability = excluded.preferred_availability
                    and p.preferred_activity = excluded.preferred_activity
                    and p.preferred_expires_at > excluded.preferred_set_at
                    and p.preferred_set_by_application is excluded.preferred_set_by_application
                    and p.preferred_set_by_user is excluded.preferred_set_by_user,
                false
            ) as repeats
        ) as write
        left join (
            select 'preference' as part, p.preferred_availability as availability, p.preferred_activity as activity,
                   p.preferred_started_at as started_at,
                   max(coalesce(p.preferred_started_at, 0), min(excluded.preferred_set_at, coalesce(p.preferred_expires_at, excluded.preferred_set_at))) as ended_at,
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
returning coalesce(changed_at >= preferred_set_at, false)
