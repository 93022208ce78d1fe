-- Removes sessions that were not set since they were read; see Store::remove_sessions.
--
-- $1 tenant_id, $2 user_id, $3 session_id, $4 set_at: one array for each column
--
-- Skips a row that another statement has locked, so neither waits for the other.
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
) as removed
where s.tenant_id = removed.tenant_id
  and s.user_id = removed.user_id
  and s.session_id = removed.session_id
