-- Creates a subscription; see SubscriptionStore::create_subscription.
--
-- ?1 tenant_id, ?2 subscription_id, ?3 created_by_application, ?4 created_by_user, ?5 request, ?6 signing_keys
-- ?7 now, ?8 expires_at, ?9 authorized_until
-- ?10 the maximum number of subscriptions of the application, ?11 of the tenant
--
-- Returns the subscription, or no row if a limit is reached.
insert into presence_subscriptions (
    tenant_id, subscription_id, created_by_application, created_by_user, request, signing_keys,
    created_at, expires_at, authorized_at, authorized_until,
    delivered_through, leased_until, generation
)
select ?1, ?2, ?3, ?4, ?5, ?6,
       ?7, ?8, case when ?9 is not null then ?7 end, ?9,
       ?7, 0, 0
from (
    select count(*) as of_tenant,
           count(*) filter (where created_by_application is ?3) as of_application
    from presence_subscriptions
    where tenant_id = ?1
      and subscription_id <> ?2
      and expires_at > ?7
) as present
where present.of_application < ?10
  and present.of_tenant < ?11
on conflict (tenant_id, subscription_id) do update set generation = generation
returning tenant_id, subscription_id, created_by_application, created_by_user, request, signing_keys,
          created_at, expires_at, authorized_at, authorized_until, reauthorization_sent_for,
          delivered_through, generation, failing_since, last_error
