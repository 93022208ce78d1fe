//! Limits the rate of requests of each application in each tenant.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::Quota;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{service::Rates, settings::RateLimit};

/// The interval at which the counts of inactive callers are removed.
const CLEANUP_INTERVAL: Duration = Duration::from_mins(1);

/// Removes the counts of inactive callers, which would fill the memory.
#[derive(Debug)]
pub struct RateCleanup(pub(super) Arc<Rates>);

impl RateCleanup {
    /// Removes them every minute, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        while stop.run_until_cancelled(sleep(CLEANUP_INTERVAL)).await.is_some() {
            self.0.remove_inactive();
        }
    }
}

/// The rates of all callers of this process.
pub(super) fn rates(limit: RateLimit) -> Rates {
    let quota = Quota::with_period(limit.interval()).unwrap_or(Quota::per_second(NonZeroU32::MIN));
    Rates::new(quota.allow_burst(limit.calls))
}
