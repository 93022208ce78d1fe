//! The rate of something that applications do.

use std::collections::HashMap;

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, MonotonicClock},
    middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};
use uuid::Uuid;

use super::{Caller, Error};
use crate::presence::SessionId;

type Application = (Uuid, Option<SessionId>);

/// Counts for each application in each tenant how often it did something.
#[derive(Debug)]
pub struct Rates(
    RateLimiter<
        Application,
        HashMapStateStore<Application>,
        MonotonicClock,
        NoOpMiddleware<<MonotonicClock as governor::clock::Clock>::Instant>,
    >,
);

impl Rates {
    /// Starts to count.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self(RateLimiter::new(quota, HashMapStateStore::new(HashMap::new()), MonotonicClock))
    }

    /// Counts once. The error is a caller above its rate.
    pub fn check(&self, caller: &Caller) -> Result<(), Error> {
        let (tenant_id, application_id) = caller.application();
        let counted = self.0.check_key(&(tenant_id, application_id.cloned()));
        counted.map_err(|not_until| Error::rate_limited(not_until.wait_time_from(self.0.clock().now())))
    }

    /// The number of applications that are counted.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Removes the counts of inactive callers, which would fill the memory.
    pub fn remove_inactive(&self) {
        self.0.retain_recent();
    }
}
