-- Reads a subscription; see SubscriptionStore::subscription.
--
-- ?1 tenant_id, ?2 subscription_id, ?3 now
select tenant_id, subscription_id, created_by_application, created_by_user, request, signing_keys,
       created_at, expires_at, authorized_at, authorized_until, reauthorization_sent_for,
       delivered_through, generation, failing_since, last_error
from presence_subscriptions
where tenant_id = ?1
  and subscription_id = ?2
  and expires_at > ?3
