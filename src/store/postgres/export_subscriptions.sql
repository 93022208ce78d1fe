-- Returns the subscriptions that a user made, without secrets; see Store::export_user.
--
-- $1 tenant_id, $2 user_id
select tenant_id, subscription_id, created_by_application, created_by_user, request,
       created_at, expires_at, authorized_at, authorized_until, reauthorization_sent_for,
       delivered_through, owner, leased_until, generation, failing_since, last_error
from presence_subscriptions
where tenant_id = $1
  and created_by_user = $2
order by subscription_id
