-- Extends or changes held sessions, and returns those that it extended; see Store::extend_sessions.
--
-- ?1 the sessions, a JSON array of arrays: tenant_id, user_id, session_id, holder, expires_at,
-- availability, activity: null if the pair and the text stay, observed_at: 0 if it stays,
-- observed_by_caller, message
-- ?2 now
--
-- A trigger keeps the spans that end; see append_spans.sql.
-- `seen_at` is an end or a fade that a reader may see before this write commits, which is at most
-- SETTLES_AFTER, 3000 ms, after now. 300000 ms are INACTIVE_AFTER and 600000 ms AWAY_AFTER.
update presence_sessions as s
set availability       = coalesce(held.value ->> 5, s.availability),
    activity           = coalesce(held.value ->> 6, s.activity),
    message            = case when held.value ->> 5 is null then s.message else held.value ->> 9 end,
    set_at             = max(s.set_at, ?2),
    expires_at         = max(s.expires_at, held.value ->> 4),
    observed_at        = case
        when held.value ->> 7 = 0 then s.observed_at
        when held.value ->> 8 then held.value ->> 7
        else max(held.value ->> 7, s.observed_at + 1)
    end,
    observed_by_caller = case when held.value ->> 7 = 0 then s.observed_by_caller else held.value ->> 8 end,
    previous_holder    = null,
    (
        opened_at, started_at, changed_at,
        previous_availability, previous_activity, previous_message,
        previous_started_at, previous_ended_at, previous_end_reason,
        previous_changed_at, previous_set_at,
        previous_set_by_application, previous_set_by_user
    ) = (
        select case when extended.opens then max(?2, s.changed_at + 1, extended.seen_at) else s.opened_at end,
               case when extended.changes then max(?2, s.started_at) else s.started_at end,
               case when extended.changes then max(?2, s.changed_at + 1, coalesce(extended.seen_at, 0)) else s.changed_at end,
               ended.availability, ended.activity, ended.message,
               ended.started_at, ended.ended_at, ended.end_reason,
               ended.changed_at, ended.set_at,
               ended.set_by_application, ended.set_by_user
        from (
            select seen.at as seen_at,
                   s.expires_at <= ?2 + 3000 as opens,
                   seen.at is not null
                       or s.availability <> coalesce(held.value ->> 5, s.availability)
                       or s.activity <> coalesce(held.value ->> 6, s.activity)
                       or (held.value ->> 5 is not null and s.message is not held.value ->> 9) as changes
            from (
                select case
                           when s.expires_at <= ?2 + 3000 then s.expires_at
                           when s.availability <> 'Available' then null
                           when s.set_at + 600000 <= ?2 + 3000 then s.set_at + 600000
                           when s.set_at + 300000 <= ?2 + 3000 then s.set_at + 300000
                       end + 1 as at
            ) as seen
        ) as extended
        left join (
            select s.availability, s.activity, s.message,
                   s.started_at,
                   max(s.started_at, min(?2, s.expires_at)) as ended_at,
                   case when s.expires_at <= ?2 then 'expired' else 'changed' end as end_reason,
                   s.changed_at, s.set_at,
                   s.set_by_application, s.set_by_user
        ) as ended on extended.changes
    )
from json_each(?1) as held
where s.tenant_id = held.value ->> 0
  and s.user_id = held.value ->> 1
  and s.session_id = held.value ->> 2
  and s.holder = held.value ->> 3
  and s.cleared_at is null
  and (not held.value ->> 8 or s.observed_at <= held.value ->> 7)
returning tenant_id, user_id, session_id, expires_at, previous_ended_at is not null
