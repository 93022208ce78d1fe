//! Reads from a read replica of the database, if there is one.
//!
//! A caller that asks for such a read accepts an old result, not an error: while the replica is
//! unavailable, the database serves the read. A failed read marks the replica as unavailable at
//! once. Only the loop that checks it every second marks it as available again, after some
//! seconds without a failure.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Service;
use crate::{
    batch::{BatchError, Batcher, CALL_TIMEOUT, Load, Reads, Statement},
    clock::Clock,
    presence::Timestamp,
    store::{Store, StoreError, UserKey},
    telemetry::{LogThrottle, ReplicaMetrics},
};

/// The interval between two checks of the replica.
const INTERVAL: Duration = Duration::from_secs(1);

/// The timeout of a read from the replica, which leaves time for the database.
const REPLICA_TIMEOUT: Duration = Duration::from_secs(1);

/// The time without a failure after which the replica is available again.
const QUIET: Duration = Duration::from_secs(5);

/// The source of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// The database, which shows every acknowledged write.
    #[default]
    Primary,
    /// The read replica if it is available; it may lag behind the database.
    Replica,
}

impl ReadFrom {
    /// The name of the header or metadata that selects the source.
    pub const HEADER: &str = "presence-read";

    /// The source that the header selects; any value but `replica` is ignored.
    #[must_use]
    pub fn from_header(header: Option<&[u8]>) -> Self {
        match header {
            Some(b"replica") => Self::Replica,
            _ => Self::Primary,
        }
    }
}

/// The availability of the replica. Clones share it.
#[derive(Clone, Debug)]
pub struct ReplicaHealth {
    available: Arc<AtomicBool>,
    throttle: Arc<LogThrottle>,
    metrics: ReplicaMetrics,
}

impl ReplicaHealth {
    /// The state of a replica before its first check: unavailable.
    #[must_use]
    pub fn new(metrics: ReplicaMetrics) -> Self {
        Self { available: Arc::default(), throttle: Arc::new(LogThrottle::new(QUIET)), metrics }
    }

    /// Checks the replica at intervals until `stop`.
    pub async fn watch(self, replica: Arc<dyn Store>, clock: Clock, stop: CancellationToken) {
        while !stop.is_cancelled() {
            // Fails also while the replica's schema is older than the statements.
            match replica.load(clock.now(), &[UserKey::placeholder()]).await {
                Ok(_) => self.succeeded(),
                Err(error) => self.failed(&error),
            }
            stop.run_until_cancelled(sleep(INTERVAL)).await;
        }
        replica.close().await;
    }

    fn succeeded(&self) {
        if self.throttle.is_failing() || self.is_available() {
            return;
        }
        self.throttle.succeeds();
        self.available.store(true, Ordering::Relaxed);
        self.metrics.up.set(1);
        info!("the read replica is available");
    }

    fn failed(&self, error: &StoreError) {
        self.available.store(false, Ordering::Relaxed);
        self.metrics.up.set(0);
        if self.throttle.fails() {
            warn!(%error, "the read replica is unavailable; the database serves its reads");
        }
    }

    fn is_available(&self) -> bool {
        self.available.load(Ordering::Relaxed)
    }
}

/// A worker's access to the replica.
#[derive(Debug)]
pub struct Replica {
    /// The batchers of its reads.
    pub reads: Reads,
    /// Whether it is available.
    pub health: ReplicaHealth,
}

impl Service {
    /// Reads `members` with one of the batchers, from the source that the caller selected.
    pub(super) async fn read<S: Statement>(
        &self,
        from: ReadFrom,
        batcher: fn(&Reads) -> &Batcher<S>,
        members: Vec<S::Item>,
    ) -> Result<(Timestamp, Vec<S::Output>), BatchError>
    where
        S::Item: Clone,
    {
        let primary = batcher(&self.batches.reads);
        let Some(replica) = self.replica.as_ref().filter(|_| from == ReadFrom::Replica) else {
            return primary.call(members).await;
        };
        let either = async {
            if replica.health.is_available() {
                match timeout(REPLICA_TIMEOUT, batcher(&replica.reads).call(members.clone())).await {
                    Ok(Err(BatchError::Store(error))) => {
                        if let StoreError::Unavailable(_) = error {
                            replica.health.failed(&error);
                        }
                    }
                    // Lists and counts can take this long on a healthy replica.
                    Err(_) if S::NAME != Load::NAME => {}
                    Err(_) => {
                        let text = format!("no result within {REPLICA_TIMEOUT:?}");
                        replica.health.failed(&StoreError::Unavailable(text));
                    }
                    // If the replica's queue is full, do not fill the database's.
                    Ok(Err(full @ BatchError::QueueFull(_))) => return Err(full),
                    Ok(Ok(read)) => {
                        replica.health.metrics.reads.inc();
                        return Ok(read);
                    }
                }
            }
            replica.health.metrics.fallbacks.inc();
            primary.call(members).await
        };
        // Both reads together have the timeout of one call.
        timeout(CALL_TIMEOUT, either).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(format!("no result within {CALL_TIMEOUT:?}")).into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn one_success_after_a_failure_does_not_make_the_replica_available() {
        let health = ReplicaHealth::new(Metrics::new().replica());
        health.succeeded();
        assert!(health.is_available());
        health.failed(&StoreError::Unavailable("gone".to_owned()));
        health.succeeded();
        assert!(!health.is_available());
    }

    #[test]
    fn only_the_header_value_replica_selects_the_replica() {
        assert_eq!(ReadFrom::from_header(Some(b"replica")), ReadFrom::Replica);
        for header in [None, Some(&b""[..]), Some(b"primary"), Some(b"Replica"), Some(b"replica,")] {
            assert_eq!(ReadFrom::from_header(header), ReadFrom::Primary);
        }
    }
}
