-- Removes the subscriptions that a user made; see Store::erase_user.
--
-- $1 tenant_id, $2 user_id
--
-- It locks the rows in key order, as other statements do.
delete from presence_subscriptions as s
using (
    select tenant_id, subscription_id
    from presence_subscriptions
    where tenant_id = $1
      and created_by_user = $2
    order by tenant_id, subscription_id
    for update
) as made
where s.tenant_id = made.tenant_id
  and s.subscription_id = made.subscription_id
