-- Applies reports, renews the leases of a replica, and takes over subscriptions whose lease ended; see
-- SubscriptionStore::claim_subscriptions and SubscriptionStore::release_subscriptions.
--
-- ?1 owner, ?2 now, ?3 the time until which the leases last, ?4 the maximum number to take over
-- ?5 the reports, a JSON array of arrays: tenant_id, subscription_id, generation, delivered_through,
-- failing_since, last_error, reauthorization_sent_for
--
-- Returns each subscription that the replica then has.
--
-- `held` has the rows with a report, the other rows of the replica, and the rows that it takes over, which
-- have no generation there. SQLite would go through all reports for each row of a left join.
with report as materialized (
    select value ->> 0 as tenant_id, value ->> 1 as subscription_id, value ->> 2 as generation,
           value ->> 3 as delivered_through, value ->> 4 as failing_since, value ->> 5 as last_error,
           value ->> 6 as reauthorization_sent_for
    from json_each(?5)
), held as materialized (
    select report.*
    from report
    cross join presence_subscriptions as own
    where own.tenant_id = report.tenant_id
      and own.subscription_id = report.subscription_id
      and own.generation = report.generation
      and own.owner = ?1
      and own.expires_at > ?2
    union all
    select tenant_id, subscription_id, generation, null, null, null, null
    from presence_subscriptions
    where owner = ?1
      and expires_at > ?2
      and (tenant_id, subscription_id, generation) not in (
          select tenant_id, subscription_id, generation from report
      )
    union all
    select tenant_id, subscription_id, null, null, null, null, null
    from (
        select tenant_id, subscription_id
        from presence_subscriptions
        where owner is not ?1
          and leased_until <= ?2
          and expires_at > ?2
        order by tenant_id, subscription_id
        limit ?4
    )
)
update presence_subscriptions as s set
    owner                    = ?1,
    leased_until             = ?3,
    generation               = coalesce(held.generation, s.generation + 1),
    delivered_through        = case
        when held.delivered_through is null then s.delivered_through
        when s.delivered_through > ?2 then held.delivered_through
        else max(s.delivered_through, held.delivered_through)
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
returning tenant_id, subscription_id, created_by_application, created_by_user, request, signing_keys,
          created_at, expires_at, authorized_at, authorized_until, reauthorization_sent_for,
          delivered_through, generation, failing_since, last_error
