//! Removal of rows that are no longer needed: sessions that ended before the retention time, rows
//! of users that show nothing and belong to a user without a session, old spans of the history, and
//! expired subscriptions.
//!
//! No rule depends on it, because a read decides whether a session has ended. One replica at a time
//! does it, under a lease. The cost is low: each chunk is followed by a pause many times as long.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};
use uuid::Uuid;

use crate::{
    clock::{Clock, Stopwatch, about},
    store::{Lease, SessionKey, Store, StoreError, UserKey},
    telemetry::Metrics,
};

/// The number of rows in one chunk.
const CHUNK_ROWS: u32 = 1_000;
/// The pause after a chunk, as a multiple of the chunk's duration.
const PAUSE_FACTOR: u32 = 20;
/// The shortest pause after a chunk.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The pause between two cleanups of the tables.
const INTERVAL: Duration = Duration::from_hours(1);
/// The time within which the first cleanup starts.
const START_SPREAD: Duration = Duration::from_secs(10);
/// The pause after a failed chunk.
const RETRY_PAUSE: Duration = Duration::from_secs(30);
/// The pause before a replica asks again for the lease that another one has.
const LEASE_PAUSE: Duration = Duration::from_mins(5);
/// The duration of the lease during a cleanup. Each chunk renews it, so it must exceed the longest
/// pause between two chunks. After a cleanup the lease keeps other replicas from repeating it.
const LEASE_DURATION: Duration = Duration::from_mins(2);

/// The place from which a cleanup continues.
enum Position {
    Sessions(Option<SessionKey>),
    Users(Option<UserKey>),
    /// No position is needed: each chunk removes the oldest spans.
    Spans,
}

/// The cleanup of one replica.
struct Cleanup {
    store: Arc<dyn Store>,
    clock: Clock,
    metrics: Metrics,
    retention: Duration,
    /// The time for which spans of the history are kept; zero while history is off.
    history: Duration,
    /// The name of this replica in the lease.
    owner: Uuid,
    position: Position,
}

/// Cleans up repeatedly until `stop`. The first time is at random, so that replicas that start
/// together do not clean up together.
pub async fn run(
    store: Arc<dyn Store>,
    clock: Clock,
    metrics: Metrics,
    retention: Duration,
    history: Duration,
    stop: CancellationToken,
) {
    let (owner, position) = (Uuid::from_u128(fastrand::u128(..)), Position::Sessions(None));
    let mut cleanup = Cleanup { store, clock, metrics, retention, history, owner, position };
    let cleanups = async {
        sleep(START_SPREAD.mul_f64(fastrand::f64())).await;
        loop {
            let pause = match cleanup.finish().await {
                Ok(Some(removed)) => {
                    info!(removed, "cleanup finished");
                    about(INTERVAL)
                }
                Ok(None) => about(LEASE_PAUSE),
                // The health loop reports an unavailable database.
                Err(error) => {
                    debug!(%error, "cleanup failed; it continues at the same place");
                    RETRY_PAUSE
                }
            };
            sleep(pause).await;
        }
    };
    stop.run_until_cancelled(cleanups).await;
}

impl Cleanup {
    /// Goes through the tables to their end, from the place where the last cleanup failed. Returns
    /// the number of removed rows; `None` if another replica has the lease.
    async fn finish(&mut self) -> Result<Option<u64>, StoreError> {
        let mut removed = 0;
        loop {
            let duration = Stopwatch::start();
            if !self.take_lease(LEASE_DURATION).await? {
                return Ok(None);
            }
            match &self.position {
                Position::Sessions(after) => {
                    let (number, last) = self.sessions(after.as_ref()).await?;
                    removed += number;
                    self.position = last.map_or(Position::Users(None), |last| Position::Sessions(Some(last)));
                }
                Position::Users(after) => {
                    let (number, last) = self.users(after.as_ref()).await?;
                    removed += number;
                    self.position = last.map_or(Position::Spans, |last| Position::Users(Some(last)));
                }
                Position::Spans => {
                    let now = self.clock.now();
                    let number = self.store.remove_spans(now, now - self.history, CHUNK_ROWS).await?;
                    removed += number;
                    if number < u64::from(CHUNK_ROWS) {
                        removed += self.store.remove_expired_subscriptions(now).await?;
                        self.position = Position::Sessions(None);
                        self.take_lease(INTERVAL).await?;
                        return Ok(Some(removed));
                    }
                }
            }
            sleep((duration.elapsed() * PAUSE_FACTOR).max(PAUSE_MIN)).await;
        }
    }

    async fn take_lease(&self, duration: Duration) -> Result<bool, StoreError> {
        let lease = Lease { name: "cleanup", owner: self.owner, duration };
        self.store.take_lease(self.clock.now(), &lease).await
    }

    /// Cleans up the next sessions. Returns the number of removed ones, and the last key unless
    /// these were the last sessions.
    async fn sessions(&self, after: Option<&SessionKey>) -> Result<(u64, Option<SessionKey>), StoreError> {
        let now = self.clock.now();
        let mut rows = self.store.scan_sessions(now, after, CHUNK_ROWS).await?;
        let last = rows.last().filter(|_| is_full(rows.len())).map(|row| row.key.clone());
        rows.retain(|row| row.unused_from.is_some_and(|from| from <= now - self.retention));
        let removed = self.store.remove_sessions(now, &rows).await?;
        self.metrics.sessions_removed(removed);
        Ok((removed, last))
    }

    /// Cleans up the next rows of users, as [`Self::sessions`] does.
    async fn users(&self, after: Option<&UserKey>) -> Result<(u64, Option<UserKey>), StoreError> {
        let now = self.clock.now();
        let mut rows = self.store.scan_users(now, after, CHUNK_ROWS).await?;
        let last = rows.last().filter(|_| is_full(rows.len())).map(|row| row.key.clone());
        rows.retain(|row| row.unused_from.is_some_and(|from| from <= now - self.retention));
        Ok((self.store.remove_users(&rows).await?, last))
    }
}

/// Whether a chunk has all the rows for which it asked, so that more may follow.
fn is_full(rows: usize) -> bool {
    u32::try_from(rows).is_ok_and(|rows| rows >= CHUNK_ROWS)
}
