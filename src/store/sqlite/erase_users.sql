-- Removes all rows of a user from presence_users; see Store::erase_user.
--
-- ?1 tenant_id, ?2 user_id
delete from presence_users
where tenant_id = ?1
  and user_id = ?2
