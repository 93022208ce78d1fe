-- Sets or clears the status message of a user; see Store::update_user.
--
-- ?1 tenant_id, ?2 user_id
-- ?3 now
-- ?4 set_by_application, ?5 set_by_user
-- ?6 status_content: null to clear
-- ?7 status_expires_at: null if it does not expire
--
-- Returns one row.
-- 3000 ms are SETTLES_AFTER: a reader may see the expiry before this write commits.
insert into presence_users as p (
    tenant_id, user_id, changed_at,
    status_content, status_expires_at,
    status_started_at, status_set_at, status_set_by_application, status_set_by_user
)
select ?1, ?2, case when ?6 is not null then at.now end,
       ?6, ?7,
       at.now, at.now, ?4, ?5
from (select ?3 as now) as at
where true
on conflict (tenant_id, user_id) do update set
    status_content            = excluded.status_content,
    status_expires_at         = excluded.status_expires_at,
    status_set_at             = excluded.status_set_at,
    status_set_by_application = excluded.status_set_by_application,
    status_set_by_user        = excluded.status_set_by_user,
    changed_at                = case
        when coalesce(excluded.status_content, p.status_content) is null then p.changed_at
        else max(
            excluded.status_set_at,
            coalesce(p.changed_at + 1, 0),
            coalesce(case when p.status_expires_at <= excluded.status_set_at + 3000 then p.status_expires_at + 1 end, 0)
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
                   else max(excluded.status_set_at, coalesce(p.status_started_at, 0))
               end,
               ended.part, null, null, ended.content,
               null, null, null, null,
               ended.started_at, ended.ended_at, ended.end_reason,
               ended.set_at, ended.set_by_application, ended.set_by_user
        from (
            select coalesce(
                p.status_content = excluded.status_content
                    and (p.status_expires_at is null or p.status_expires_at > excluded.status_set_at)
                    and p.status_set_by_application is excluded.status_set_by_application
                    and p.status_set_by_user is excluded.status_set_by_user,
                false
            ) as repeats
        ) as write
        left join (
            select 'message' as part, p.status_content as content,
                   p.status_started_at as started_at,
                   max(coalesce(p.status_started_at, 0), min(excluded.status_set_at, coalesce(p.status_expires_at, excluded.status_set_at))) as ended_at,
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
returning coalesce(changed_at >= status_set_at, false)
