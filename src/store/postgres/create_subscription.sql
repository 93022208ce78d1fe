-- Creates a subscription; see SubscriptionStore::create_subscription.
--
-- $1 tenant_id, $2 subscription_id, $3 created_by_application, $4 created_by_user, $5 request, $6 signing_keys
-- $7 now, $8 expires_at, $9 authorized_until
-- $10 the maximum number of subscriptions of the application, $11 of the tenant
--
-- Returns one row: the subscription, or nulls if a limit is reached, and whether it is that of the
-- application.
with present as (
    select count(*) as of_tenant,
           count(*) filter (where created_by_application is not distinct from $3::text) as of_application
    from presence_subscriptions
    where tenant_id = $1::uuid
      and subscription_id <> $2::uuid
      and expires_at > $7::bigint
), created as (
    insert into presence_subscriptions as s (
        tenant_id, subscription_id, created_by_application, created_by_user, request, signing_keys,
        created_at, expires_at, authorized_at, authorized_until,
        delivered_through, leased_until, generation
    )
    select $1, $2, $3, $4::text, $5::text, $6::text,
           $7, $8::bigint, case when $9::bigint is not null then $7 end, $9,
           $7, 0, 0
    from present
    where of_application < $10::bigint
      and of_tenant < $11::bigint
    on conflict (tenant_id, subscription_id) do update set generation = s.generation
    returning *
)
select c.tenant_id, c.subscription_id, c.created_by_application, c.created_by_user, c.request, c.signing_keys,
       c.created_at, c.expires_at, c.authorized_at, c.authorized_until, c.reauthorization_sent_for,
       c.delivered_through, c.generation, c.failing_since, c.last_error,
       of_application >= $10 as is_application_full
from present
left join created as c on true
