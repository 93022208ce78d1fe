-- Extends held sessions, and returns those that it extended; see Store::extend_sessions.
--
-- ?1 the sessions, a JSON array of arrays: tenant_id, user_id, session_id, availability, activity,
-- expires_at
-- ?2 now
--
-- A trigger keeps the spans that end; see append_spans.sql.
-- `seen_at` is an end or a fade that a reader may see before this write commits, which is at most
-- SETTLES_AFTER, 3000 ms, after now. 300000 ms are INACTIVE_AFTER and 600000 ms AWAY_AFTER.
update presence_sessions as s
set (
        opened_at, started_at, changed_at, set_at, expires_at,
        previous_availability, previous_activity,
        previous_started_at, previous_ended_at, previous_end_reason,
        previous_changed_at, previous_set_at,
        previous_set_by_application, previous_set_by_user
    ) = (
        select case when extended.opens then max(?2, s.changed_at + 1, extended.seen_at) else s.opened_at end,
               case when extended.seen_at is not null then max(?2, s.started_at) else s.started_at end,
               case when extended.seen_at is not null then max(?2, s.changed_at + 1, extended.seen_at) else s.changed_at end,
               max(s.set_at, ?2),
               max(s.expires_at, held.value ->> 5),
               ended.availability, ended.activity,
               ended.started_at, ended.ended_at, ended.end_reason,
               ended.changed_at, ended.set_at,
               ended.set_by_application, ended.set_by_user
        from (
            select s.expires_at <= ?2 + 3000 as opens,
                   case
                       when s.expires_at <= ?2 + 3000 then s.expires_at
                       when s.availability <> 'Available' then null
                       when s.set_at + 600000 <= ?2 + 3000 then s.set_at + 600000
                       when s.set_at + 300000 <= ?2 + 3000 then s.set_at + 300000
                   end + 1 as seen_at
        ) as extended
        left join (
            select s.availability, s.activity,
                   s.started_at,
                   max(s.started_at, min(?2, s.expires_at)) as ended_at,
                   case when s.expires_at <= ?2 then 'expired' else 'changed' end as end_reason,
                   s.changed_at, s.set_at,
                   s.set_by_application, s.set_by_user
        ) as ended on extended.seen_at is not null
    )
from json_each(?1) as held
where s.tenant_id = held.value ->> 0
  and s.user_id = held.value ->> 1
  and s.session_id = held.value ->> 2
  and s.availability = held.value ->> 3
  and s.activity = held.value ->> 4
  and s.cleared_at is null
returning tenant_id, user_id, session_id, availability, activity, previous_ended_at is not null
