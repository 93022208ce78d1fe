//! Removes the sessions that ended longer ago than the retention time, slowly.
//!
//! Nothing depends on it: whether a session has ended is decided when it is
//! read. Every replica cleans up, for it costs little: a chunk at a time, and a
//! pause behind each that is many times as long.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::{
    clock::{Clock, Stopwatch},
    store::{Chunk, Store, StoreError},
    telemetry::Metrics,
};

/// The sessions that are looked at in one statement.
const CHUNK_ROWS: u32 = 1_000;
/// The pause behind a chunk, in times of what the chunk took, and at least.
const PAUSE_FACTOR: u32 = 20;
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The pause between two cleans up of the whole table.
const INTERVAL: Duration = Duration::from_hours(1);

/// Cleans up again and again until `stop`.
pub async fn run(
    store: Arc<dyn Store>,
    clock: Clock,
    metrics: Metrics,
    retention: Duration,
    stop: CancellationToken,
) {
    let cleanups = async {
        loop {
            match cleanup(&*store, &clock, &metrics, retention).await {
                Ok(0) => debug!("removed: nothing ended that long ago"),
                Ok(removed) => info!(removed, "removed what ended long ago"),
                // Health says what there is to say.
                Err(error) => debug!(%error, "a cleanup broke off"),
            }
            sleep(INTERVAL).await;
        }
    };
    stop.run_until_cancelled(cleanups).await;
}

/// Goes once through all sessions; says how many were removed.
async fn cleanup(
    store: &dyn Store,
    clock: &Clock,
    metrics: &Metrics,
    retention: Duration,
) -> Result<u64, StoreError> {
    let (mut chunk, mut removed) = (Chunk::default(), 0);
    loop {
        let took = Stopwatch::start();
        chunk.through = store.chunk_end(chunk.after.as_ref(), CHUNK_ROWS).await?;
        let sessions = store.remove_ended(clock.now() - retention, &chunk).await?;
        metrics.sessions_removed(sessions);
        removed += sessions;
        if chunk.through.is_none() {
            return Ok(removed);
        }
        chunk.after = chunk.through.take();
        sleep((took.elapsed() * PAUSE_FACTOR).max(PAUSE_MIN)).await;
    }
}
