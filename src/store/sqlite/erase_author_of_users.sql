-- Removes the name of a user as author from the settings of others; see Store::erase_author.
--
-- ?1 tenant_id, ?2 user_id
-- ?3 only users after this id, ?4 and up to this id
update presence_users
set preferred_set_by_user          = nullif(preferred_set_by_user, ?2),
    status_set_by_user             = nullif(status_set_by_user, ?2),
    manual_location_set_by_user    = nullif(manual_location_set_by_user, ?2),
    automatic_location_set_by_user = nullif(automatic_location_set_by_user, ?2),
    previous_set_by_user           = nullif(previous_set_by_user, ?2)
where tenant_id = ?1
  and user_id > ?3
  and user_id <= ?4
  and (
      preferred_set_by_user = ?2
      or status_set_by_user = ?2
      or manual_location_set_by_user = ?2
      or automatic_location_set_by_user = ?2
      or previous_set_by_user = ?2
  )
