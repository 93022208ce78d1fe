-- Ends sessions; see Store::clear_sessions.
--
-- ?1 the keys, a JSON array of arrays: tenant_id, user_id, session_id, cleared_by_application,
-- cleared_by_user, observed_at, holder
-- ?2 now
--
-- Returns each session that was written, which is all but stale ones and those that the holder does
-- not hold any more: whether it was live, and whether replicas must be notified. A missing session
-- gets a mark: a row without a pair, which shows nowhere.
--
-- A trigger keeps the spans that end; see append_spans.sql. 3000 ms are SETTLES_AFTER: a reader may
-- see the expiry before this write commits.
-- Without `where true`, SQLite would parse `on conflict` as the `on` of a join.
insert into presence_sessions as s (
    tenant_id, user_id, session_id, opened_at, started_at, changed_at, set_at, expires_at,
    cleared_at, cleared_by_application, cleared_by_user, observed_at, observed_by_caller, holder
)
select value ->> 0, value ->> 1, value ->> 2, 0, 0, 0, 0, ?2,
       ?2, value ->> 3, value ->> 4, coalesce(value ->> 5, ?2), value ->> 5 is not null, value ->> 6
from json_each(?1)
where true
on conflict (tenant_id, user_id, session_id) do update set
    observed_at        = case
        when excluded.observed_by_caller then excluded.observed_at
        else max(excluded.observed_at, s.observed_at + 1)
    end,
    observed_by_caller = excluded.observed_by_caller,
    holder             = null,
    previous_holder    = case when s.holder is not excluded.holder then s.holder end,
    (
        started_at, cleared_at, cleared_by_application, cleared_by_user,
        previous_availability, previous_activity, previous_message,
        previous_started_at, previous_ended_at, previous_end_reason,
        previous_changed_at, previous_set_at,
        previous_set_by_application, previous_set_by_user
    ) = (
        select max(s.started_at, excluded.cleared_at),
               max(
                   excluded.cleared_at,
                   s.changed_at + 1,
                   case when s.expires_at <= excluded.cleared_at + 3000 then s.expires_at + 1 else 0 end
               ),
               excluded.cleared_by_application, excluded.cleared_by_user,
               s.availability, s.activity, s.message,
               s.started_at, max(s.started_at, excluded.cleared_at), 'cleared',
               s.changed_at, s.set_at,
               s.set_by_application, s.set_by_user
        where s.cleared_at is null and s.expires_at > excluded.cleared_at
        union all
        select s.started_at, s.cleared_at, s.cleared_by_application, s.cleared_by_user,
               null, null, null, null, null, null, null, null, null, null
        where s.cleared_at is not null or s.expires_at <= excluded.cleared_at
    )
where (not excluded.observed_by_caller or s.observed_at <= excluded.observed_at)
  and (excluded.holder is null or s.holder = excluded.holder)
returning tenant_id, user_id, session_id,
          previous_ended_at is not null as ended,
          previous_ended_at is not null or previous_holder is not null as changed
