//! Removal of sessions that ended before the retention time.
//!
//! No rule depends on it, because a read decides whether a session has ended. Every replica
//! cleans up. The cost is low: each chunk is followed by a pause many times as long.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::{
    clock::{Clock, Stopwatch},
    store::{Chunk, Store, StoreError},
    telemetry::Metrics,
};

/// The number of sessions in one chunk.
const CHUNK_ROWS: u32 = 1_000;
/// The pause after a chunk, as a multiple of the chunk's duration.
const PAUSE_FACTOR: u32 = 20;
/// The shortest pause after a chunk.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The pause between two cleanups of the whole table.
const INTERVAL: Duration = Duration::from_hours(1);

/// Cleans up repeatedly until `stop`.
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
                Ok(0) => debug!("cleanup found no session to remove"),
                Ok(removed) => info!(removed, "cleanup removed ended sessions"),
                // The health loop reports an unavailable database.
                Err(error) => debug!(%error, "cleanup failed"),
            }
            sleep(INTERVAL).await;
        }
    };
    stop.run_until_cancelled(cleanups).await;
}

/// Goes through all sessions once. Returns the number of removed sessions.
async fn cleanup(
    store: &dyn Store,
    clock: &Clock,
    metrics: &Metrics,
    retention: Duration,
) -> Result<u64, StoreError> {
    let (mut chunk, mut removed) = (Chunk::default(), 0);
    loop {
        let duration = Stopwatch::start();
        chunk.through = store.chunk_end(chunk.after.as_ref(), CHUNK_ROWS).await?;
        let sessions = store.remove_ended(clock.now() - retention, &chunk).await?;
        metrics.sessions_removed(sessions);
        removed += sessions;
        if chunk.through.is_none() {
            return Ok(removed);
        }
        chunk.after = chunk.through.take();
        sleep((duration.elapsed() * PAUSE_FACTOR).max(PAUSE_MIN)).await;
    }
}
