-- Removes the subscriptions that a user made; see Store::erase_user.
--
-- ?1 tenant_id, ?2 user_id
delete from presence_subscriptions
where tenant_id = ?1
  and created_by_user = ?2
