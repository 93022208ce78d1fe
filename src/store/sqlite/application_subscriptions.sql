-- Counts the subscriptions of an application; see SubscriptionStore::create_subscription.
--
-- ?1 tenant_id, ?2 created_by_application, ?3 now
select count(*)
from presence_subscriptions
where tenant_id = ?1
  and created_by_application is ?2
  and expires_at > ?3
