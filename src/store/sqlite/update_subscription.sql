-- Changes a subscription and authorizes it again; see SubscriptionStore::update_subscription.
--
-- ?1 tenant_id, ?2 subscription_id, ?3 now
-- ?4 expires_at, ?6 request, ?7 signing_keys: null keeps the value
-- ?5 authorized_until
update presence_subscriptions set
    expires_at               = coalesce(?4, expires_at),
    authorized_at            = case when ?5 is not null then ?3 end,
    authorized_until         = ?5,
    reauthorization_sent_for = null,
    request                  = coalesce(?6, request),
    signing_keys             = coalesce(?7, signing_keys)
where tenant_id = ?1
  and subscription_id = ?2
  and expires_at > ?3
returning tenant_id, subscription_id, created_by_application, created_by_user, request, signing_keys,
          created_at, expires_at, authorized_at, authorized_until, reauthorization_sent_for,
          delivered_through, generation, failing_since, last_error
