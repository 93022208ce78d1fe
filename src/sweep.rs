//! Removes the sessions that ended longer ago than the retention time, slowly.
//!
//! Nothing depends on it: whether a session has ended is decided when it is
//! read. Every replica sweeps, for it costs little: a bite at a time, and a
//! pause behind each that is many times as long.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::{
    clock::{Clock, Stopwatch},
    store::{Bite, Store, StoreError},
    telemetry::Metrics,
};

/// The sessions that are looked at in one statement.
const BITE_ROWS: u32 = 1_000;
/// The pause behind a bite, in times of what the bite took, and at least.
const PAUSE_FACTOR: u32 = 20;
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The pause between two sweeps of the whole table.
const INTERVAL: Duration = Duration::from_hours(1);

/// Sweeps again and again until `stop`.
pub async fn run(
    store: Arc<dyn Store>,
    clock: Clock,
    metrics: Metrics,
    retention: Duration,
    stop: CancellationToken,
) {
    let sweeps = async {
        loop {
            match sweep(&*store, &clock, &metrics, retention).await {
                Ok(0) => debug!("swept: nothing ended that long ago"),
                Ok(removed) => info!(removed, "swept what ended long ago"),
                // Health says what there is to say.
                Err(error) => debug!(%error, "a sweep broke off"),
            }
            sleep(INTERVAL).await;
        }
    };
    stop.run_until_cancelled(sweeps).await;
}

/// Goes once through all sessions; says how many were removed.
async fn sweep(
    store: &dyn Store,
    clock: &Clock,
    metrics: &Metrics,
    retention: Duration,
) -> Result<u64, StoreError> {
    let (mut bite, mut removed) = (Bite::default(), 0);
    loop {
        let took = Stopwatch::start();
        bite.through = store.bite_end(bite.after.as_ref(), BITE_ROWS).await?;
        let swept = store.remove_ended(clock.now() - retention, &bite).await?;
        metrics.sessions_swept(swept);
        removed += swept;
        if bite.through.is_none() {
            return Ok(removed);
        }
        bite.after = bite.through.take();
        sleep((took.elapsed() * PAUSE_FACTOR).max(PAUSE_MIN)).await;
    }
}
