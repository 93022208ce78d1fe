-- Removes sessions that were not set since they were read; see Store::remove_sessions.
--
-- $1 tenant_id, $2 user_id, $3 session_id, $4 set_at: one array for each column
-- $5 now
-- $6 whether spans that end are kept
--
-- Skips a row that another statement has locked, so neither waits for the other.
with removed as (
    delete from presence_sessions as s
    using (
        select held.tenant_id, held.user_id, held.session_id
        from unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[]) as old (tenant_id, user_id, session_id, set_at)
        join presence_sessions as held
          on held.tenant_id = old.tenant_id
         and held.user_id = old.user_id collate "C"
         and held.session_id = old.session_id collate "C"
         and held.set_at = old.set_at
        for update of held skip locked
    ) as old
    where s.tenant_id = old.tenant_id
      and s.user_id = old.user_id
      and s.session_id = old.session_id
    returning s.*
), appended as (
    insert into presence_history (
        tenant_id, user_id, part, session_id, started_at, ended_at,
        availability, activity, content, changed_at, set_at, set_by_application, set_by_user, end_reason
    )
    select tenant_id, user_id, 'session', session_id, started_at, greatest(started_at, least($5::bigint, expires_at)),
           availability, activity, message, changed_at, set_at, set_by_application, set_by_user,
           case when expires_at <= $5 then 'expired' else 'evicted' end
    from removed
    where cleared_at is null
      and $6::boolean
)
select (cleared_at is null and $6)::int as spans
from removed
