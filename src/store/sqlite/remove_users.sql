-- Removes rows of users that were not written since they were read; see Store::remove_users.
--
-- ?1 the rows, a JSON array of arrays: tenant_id, user_id, set_at
delete from presence_users
where (
    tenant_id, user_id,
    max(
        coalesce(preferred_set_at, 0), coalesce(status_set_at, 0),
        coalesce(manual_location_set_at, 0), coalesce(automatic_location_set_at, 0)
    )
) in (
    select value ->> 0, value ->> 1, value ->> 2 from json_each(?1)
)
