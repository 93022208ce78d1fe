-- Removes expired subscriptions; see SubscriptionStore::remove_expired_subscriptions.
--
-- ?1 now
delete from presence_subscriptions
where expires_at <= ?1
