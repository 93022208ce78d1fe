-- Removes expired subscriptions; see SubscriptionStore::remove_expired_subscriptions.
--
-- $1 now
--
-- Skips a row that another statement has locked, so neither waits for the other.
delete from presence_subscriptions as s
using (
    select tenant_id, subscription_id
    from presence_subscriptions
    where expires_at <= $1
    for update skip locked
) as expired
where s.tenant_id = expired.tenant_id
  and s.subscription_id = expired.subscription_id
