-- Removes the row of a user that was not written since it was read; see Store::remove_users.
-- Citus locks no rows of several shards, so it removes one row at a time.
--
-- $1 tenant_id, $2 user_id, $3 set_at
delete from presence_users
where tenant_id = $1
  and user_id = $2
  and greatest(
          preferred_set_at, status_set_at, manual_location_set_at, automatic_location_set_at
      ) = $3
