-- Removes the name of a user as author from the history of others; see Store::erase_author.
--
-- ?1 tenant_id, ?2 user_id
-- ?3 only users after this id, ?4 and up to this id
update presence_history
set set_by_user   = nullif(set_by_user, ?2),
    ended_by_user = nullif(ended_by_user, ?2)
where tenant_id = ?1
  and user_id > ?3
  and user_id <= ?4
  and (set_by_user = ?2 or ended_by_user = ?2)
