-- Removes the spans that other writes appended while erase_user.sql waited for them; see
-- Store::erase_user.
--
-- $1 tenant_id, $2 user_id
delete from presence_history
where tenant_id = $1
  and user_id = $2
