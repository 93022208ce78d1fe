-- Applies reports, renews the leases of a replica, and takes over subscriptions whose lease ended; see
-- SubscriptionStore::claim_subscriptions and SubscriptionStore::release_subscriptions.
--
-- $1 owner, $2 now, $3 the time until which the leases last, $4 the maximum number to take over
-- $5 tenant_id, $6 subscription_id, $7 generation, $8 delivered_through, $9 failing_since, $10 last_error,
-- $11 reauthorization_sent_for: one array for each column of the reports
--
-- Returns each subscription that the replica then has.
--
-- The replica waits for the locks of its own rows, in key order, and only then locks those that it takes
-- over, without a wait. So two replicas never wait for each other. A row that it takes over has no
-- generation in `held`, so no report applies to it. Grouping joins the reports with the rows in one pass; a
-- join can be planned as a loop, because the number of reports is unknown then.
with own as materialized (
    select tenant_id, subscription_id, generation
    from presence_subscriptions
    where owner = $1::uuid
      and expires_at > $2::bigint
    order by tenant_id, subscription_id
    for update
), taken as materialized (
    select tenant_id, subscription_id, null::bigint as generation
    from presence_subscriptions
    where owner is distinct from $1
      and leased_until <= $2
      and expires_at > $2
      and (select count(*) from own) >= 0
    order by tenant_id, subscription_id
    limit $4::bigint
    for update skip locked
), held as materialized (
    select tenant_id, subscription_id, generation,
           max(delivered_through) as delivered_through,
           max(failing_since) as failing_since,
           max(last_error) as last_error,
           max(reauthorization_sent_for) as reauthorization_sent_for
    from (
        select tenant_id, subscription_id, generation, true as is_held,
               null::bigint as delivered_through, null::bigint as failing_since, null::text as last_error,
               null::bigint as reauthorization_sent_for
        from own
        union all
        select tenant_id, subscription_id, generation, true, null, null, null, null
        from taken
        union all
        select tenant_id, subscription_id, generation, false, delivered_through, failing_since, last_error,
               reauthorization_sent_for
        from unnest(
            $5::uuid[], $6::uuid[], $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::bigint[]
        ) as report (
            tenant_id, subscription_id, generation, delivered_through, failing_since, last_error,
            reauthorization_sent_for
        )
    ) as rows_and_reports
    group by tenant_id, subscription_id, generation
    having bool_or(is_held)
)
update presence_subscriptions as s set
    owner                    = $1,
    leased_until             = $3::bigint,
    generation               = coalesce(held.generation, s.generation + 1),
    delivered_through        = case
        when held.delivered_through is null then s.delivered_through
        when s.delivered_through > $2 then held.delivered_through
        else greatest(s.delivered_through, held.delivered_through)
    end,
    failing_since            = case
        when held.delivered_through is null then s.failing_since
        else held.failing_since
    end,
    last_error               = case
        when held.delivered_through is null then s.last_error
        else held.last_error
    end,
    reauthorization_sent_for = coalesce(held.reauthorization_sent_for, s.reauthorization_sent_for)
from held
where s.tenant_id = held.tenant_id
  and s.subscription_id = held.subscription_id
returning s.tenant_id, s.subscription_id, s.created_by_application, s.created_by_user, s.request, s.signing_keys,
          s.created_at, s.expires_at, s.authorized_at, s.authorized_until, s.reauthorization_sent_for,
          s.delivered_through, s.generation, s.failing_since, s.last_error
