//! Limits the rate of requests of each application in each tenant.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, MonotonicClock},
    middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    presence::SessionId,
    service::{Caller, Error},
    settings::RateLimit,
};

/// The interval at which the counts of inactive callers are removed.
const CLEANUP_INTERVAL: Duration = Duration::from_mins(1);

type Key = (Uuid, Option<SessionId>);

/// Removes the counts of inactive callers, which would fill the memory.
#[derive(Debug)]
pub struct RateCleanup(pub(super) Arc<RateLimits>);

impl RateCleanup {
    /// Removes them every minute, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        while stop.run_until_cancelled(sleep(CLEANUP_INTERVAL)).await.is_some() {
            self.0.limiter.retain_recent();
        }
    }
}

/// The rates of all callers of this process.
#[derive(Debug)]
pub(super) struct RateLimits {
    limiter: RateLimiter<
        Key,
        HashMapStateStore<Key>,
        MonotonicClock,
        NoOpMiddleware<<MonotonicClock as governor::clock::Clock>::Instant>,
    >,
}

impl RateLimits {
    /// Starts counting requests.
    pub(super) fn new(limit: RateLimit) -> Self {
        let quota = Quota::with_period(limit.interval())
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(limit.calls);
        let store = HashMapStateStore::new(HashMap::new());
        Self { limiter: RateLimiter::new(quota, store, MonotonicClock) }
    }

    /// Counts a request. The error is a caller above its rate.
    pub(super) fn check(&self, caller: &Caller) -> Result<(), Error> {
        let (tenant_id, application_id) = caller.application();
        let key = (tenant_id, application_id.cloned());
        self.limiter
            .check_key(&key)
            .map_err(|not_until| Error::rate_limited(not_until.wait_time_from(self.limiter.clock().now())))
    }
}
