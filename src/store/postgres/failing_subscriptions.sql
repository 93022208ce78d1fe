-- Returns the subscriptions that have failed since before a time, those first that have failed for longest.
--
-- $1 now
-- $2 the time
-- $3 the maximum
select subscription_id::text, request, failing_since, last_error
from presence_subscriptions
where expires_at > $1
  and failing_since < $2
order by failing_since, tenant_id, subscription_id
limit $3
