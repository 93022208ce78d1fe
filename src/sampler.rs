//! Sampling of the size and the age of the history, for the metrics.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{clock::about, store::Store, telemetry::Metrics};

/// The time between two samples.
const INTERVAL: Duration = Duration::from_mins(1);

/// Takes a sample at once, and then one a minute until `stop`. After a failure the metrics keep the
/// last sample.
pub async fn run(store: Arc<dyn Store>, metrics: Metrics, stop: CancellationToken) {
    let samples = async {
        loop {
            match store.history_stats().await {
                Ok(stats) => metrics.set_history(stats.bytes, stats.oldest_ended_at),
                // The health loop reports an unavailable database.
                Err(error) => debug!(%error, "reading the size of the history failed"),
            }
            sleep(about(INTERVAL)).await;
        }
    };
    stop.run_until_cancelled(samples).await;
}
