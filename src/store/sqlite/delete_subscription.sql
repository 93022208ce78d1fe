-- Deletes a subscription; see SubscriptionStore::delete_subscription.
--
-- ?1 tenant_id, ?2 subscription_id
delete from presence_subscriptions
where tenant_id = ?1
  and subscription_id = ?2
