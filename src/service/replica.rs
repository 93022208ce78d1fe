//! Reads that may be old: from a read replica of the database, if there is one.
//!
//! Who asks for one says that an old answer will do, not that none will: while the
//! replica is away the database answers. A failing read takes the replica for away
//! at once; only the loop that asks it every second takes it for back, once nothing
//! has failed there for some seconds.

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
    store::{Store, StoreError},
    telemetry::{LogThrottle, ReplicaMetrics},
};

/// How often the replica is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the replica may take, so that there is time left for the database.
const REPLICA_TIMEOUT: Duration = Duration::from_secs(1);

/// How long nothing must have failed there for it to be taken for back.
const QUIET: Duration = Duration::from_secs(5);

/// Where a read may come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// From where every write is seen that was answered before.
    #[default]
    Primary,
    /// From a replica, too, which may lag behind.
    Replica,
}

impl ReadFrom {
    /// The header, or the metadata, by which a caller says so.
    pub const HEADER: &str = "presence-read";

    /// What the header says; anything but `replica` is as good as nothing.
    #[must_use]
    pub fn asked(header: Option<&[u8]>) -> Self {
        match header {
            Some(b"replica") => Self::Replica,
            _ => Self::Primary,
        }
    }
}

/// Whether the replica answers; clones are one.
#[derive(Clone, Debug)]
pub struct ReplicaHealth {
    answers: Arc<AtomicBool>,
    throttle: Arc<LogThrottle>,
    metrics: ReplicaMetrics,
}

impl ReplicaHealth {
    /// It has not answered yet.
    #[must_use]
    pub fn new(metrics: ReplicaMetrics) -> Self {
        Self { answers: Arc::default(), throttle: Arc::new(LogThrottle::none(QUIET)), metrics }
    }

    /// Asks the replica again and again until `stop`.
    pub async fn watch(self, replica: Arc<dyn Store>, clock: Clock, stop: CancellationToken) {
        while !stop.is_cancelled() {
            // Fails, too, while its tables are older than what is read from them.
            match replica.load(clock.now(), &[]).await {
                Ok(_) => self.works(),
                Err(error) => self.fails(&error),
            }
            stop.run_until_cancelled(sleep(INTERVAL)).await;
        }
        replica.close().await;
    }

    fn works(&self) {
        if self.throttle.lasts() || self.answers() {
            return;
        }
        self.throttle.ends();
        self.answers.store(true, Ordering::Relaxed);
        self.metrics.up.set(1);
        info!("the read replica answers");
    }

    fn fails(&self, error: &StoreError) {
        self.answers.store(false, Ordering::Relaxed);
        self.metrics.up.set(0);
        if self.throttle.begins() {
            warn!(%error, "the read replica is away: the database answers for it");
        }
    }

    fn answers(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }
}

/// A worker's way to the replica.
#[derive(Debug)]
pub struct Replica {
    /// Its batchers.
    pub reads: Reads,
    /// Whether it answers.
    pub health: ReplicaHealth,
}

impl Service {
    /// Has `members` read by one of the batchers, from where the caller says.
    pub(super) async fn read<S: Statement>(
        &self,
        from: ReadFrom,
        batcher: fn(&Reads) -> &Batcher<S>,
        members: Vec<S::Member>,
    ) -> Result<(Timestamp, Vec<S::Output>), BatchError>
    where
        S::Member: Clone,
    {
        let primary = batcher(&self.batches.reads);
        let Some(replica) = self.replica.as_ref().filter(|_| from == ReadFrom::Replica) else {
            return primary.call(members).await;
        };
        let either = async {
            if replica.health.answers() {
                match timeout(REPLICA_TIMEOUT, batcher(&replica.reads).call(members.clone())).await {
                    Ok(Err(BatchError::Store(error))) => {
                        if let StoreError::Unavailable(_) = error {
                            replica.health.fails(&error);
                        }
                    }
                    // Lists and counts may take so long by themselves.
                    Err(_) if S::NAME != Load::NAME => {}
                    Err(_) => {
                        let text = format!("not read within {REPLICA_TIMEOUT:?}");
                        replica.health.fails(&StoreError::Unavailable(text));
                    }
                    // A queue that is full is no reason to fill the other one.
                    Ok(Err(full @ BatchError::QueueFull(_))) => return Err(full),
                    Ok(Ok(read)) => {
                        replica.health.metrics.answered.inc();
                        return Ok(read);
                    }
                }
            }
            replica.health.metrics.passed_on.inc();
            primary.call(members).await
        };
        // Both together may take no longer than one alone.
        timeout(CALL_TIMEOUT, either).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(format!("not read within {CALL_TIMEOUT:?}")).into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn a_replica_is_not_taken_for_back_as_soon_as_it_answers_once() {
        let health = ReplicaHealth::new(Metrics::new().replica());
        health.works();
        assert!(health.answers());
        health.fails(&StoreError::Unavailable("gone".to_owned()));
        health.works();
        assert!(!health.answers());
    }

    #[test]
    fn only_who_says_so_reads_from_a_replica() {
        assert_eq!(ReadFrom::asked(Some(b"replica")), ReadFrom::Replica);
        for header in [None, Some(&b""[..]), Some(b"primary"), Some(b"Replica"), Some(b"replica,")] {
            assert_eq!(ReadFrom::asked(header), ReadFrom::Primary);
        }
    }
}
