//! How often an application of a tenant may call. Graph: throttling.

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

/// How often those are forgotten that have not called for long.
const FORGET_INTERVAL: Duration = Duration::from_mins(1);

type Key = (Uuid, Option<SessionId>);

/// The rates of all callers of this process.
#[derive(Debug)]
pub(super) struct Rates {
    limiter: RateLimiter<
        Key,
        HashMapStateStore<Key>,
        MonotonicClock,
        NoOpMiddleware<<MonotonicClock as governor::clock::Clock>::Instant>,
    >,
}

impl Rates {
    /// Counts calls until `stop`.
    pub(super) fn start(limit: RateLimit, stop: CancellationToken) -> Arc<Self> {
        let quota = Quota::with_period(limit.interval())
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(limit.calls);
        let store = HashMapStateStore::new(HashMap::new());
        let rates = Arc::new(Self { limiter: RateLimiter::new(quota, store, MonotonicClock) });
        tokio::spawn({
            let rates = Arc::clone(&rates);
            async move {
                while stop.run_until_cancelled(sleep(FORGET_INTERVAL)).await.is_some() {
                    rates.limiter.retain_recent();
                }
            }
        });
        rates
    }

    /// Counts a call, unless it is one too many.
    pub(super) fn admit(&self, caller: &Caller) -> Result<(), Error> {
        let (tenant_id, application_id) = caller.application();
        let key = (tenant_id, application_id.cloned());
        self.limiter
            .check_key(&key)
            .map_err(|not_until| Error::rate_limited(not_until.wait_time_from(self.limiter.clock().now())))
    }
}
