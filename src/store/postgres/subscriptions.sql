-- Lists subscriptions of one tenant; see SubscriptionStore::subscriptions.
--
-- $1 tenant_id, $2 only subscriptions after this id, $3 whether only those of an application are listed,
-- $4 the application, $5 now, $6 the maximum number of subscriptions
select tenant_id, subscription_id, created_by_application, created_by_user, request, signing_keys,
       created_at, expires_at, authorized_at, authorized_until, reauthorization_sent_for,
       delivered_through, generation, failing_since, last_error
from presence_subscriptions
where tenant_id = $1
  and subscription_id > $2
  and (not $3::boolean or created_by_application is not distinct from $4::text)
  and expires_at > $5
order by subscription_id
limit $6
