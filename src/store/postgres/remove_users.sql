-- Removes rows of users that were not written since they were read; see Store::remove_users.
--
-- $1 tenant_id, $2 user_id, $3 set_at: one array for each column
--
-- Skips a row that another statement has locked, so neither waits for the other.
delete from presence_users as p
using (
    select held.tenant_id, held.user_id
    from unnest($1::uuid[], $2::text[], $3::bigint[]) as old (tenant_id, user_id, set_at)
    join presence_users as held
      on held.tenant_id = old.tenant_id
     and held.user_id = old.user_id collate "C"
     and greatest(
             held.preferred_set_at, held.status_set_at, held.manual_location_set_at, held.automatic_location_set_at
         ) = old.set_at
    for update of held skip locked
) as removed
where p.tenant_id = removed.tenant_id
  and p.user_id = removed.user_id
