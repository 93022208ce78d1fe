//! How a statement gets a connection, and what becomes of it afterwards.
//!
//! The limits add up to less than 3 s, so that a dead database is reported
//! within that time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{Connection, Database, Pool, pool::PoolConnection, pool::PoolOptions};
use tokio::time::{Timeout, error::Elapsed, timeout};

use super::StoreError;
use crate::clock::Stopwatch;

/// How long the first connection may take, at start-up.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a statement waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a statement may take.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// A connection that was idle this long is asked whether it is alive before it
/// is used: after a restart of the database the first statements would fail
/// otherwise. Under load no connection is, and none is asked.
///
/// This is what [`trusted_for`] shortens after a failure.
const IDLE_UNTIL_CHECKED: Duration = Duration::from_secs(1);
const IDLE_TIMEOUT: Duration = Duration::from_mins(10);
/// Moves connections to where a load balancer or a failover wants them.
const MAX_LIFETIME: Duration = Duration::from_mins(30);

/// The connections of a store at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUse {
    /// Open connections.
    pub open: u32,
    /// Those of them that run no statement.
    pub idle: u32,
}

/// The connections of a store.
#[derive(Debug)]
pub(super) struct ConnectionPool<DB: Database> {
    pool: Pool<DB>,
    /// When a connection last broke.
    broke: Arc<Mutex<Option<Stopwatch>>>,
}

impl<DB: Database> ConnectionPool<DB> {
    /// Opens up to `connections` connections, each when it is first needed.
    pub(super) fn new(options: <DB::Connection as Connection>::Options, connections: u32) -> Self {
        let broke = Arc::new(Mutex::new(None));
        let pool = PoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(IDLE_TIMEOUT)
            .max_lifetime(MAX_LIFETIME)
            .test_before_acquire(false)
            .before_acquire({
                let broke = Arc::clone(&broke);
                move |connection: &mut DB::Connection, meta| {
                    let check = meta.idle_for >= trusted_for(&broke);
                    Box::pin(async move {
                        if check {
                            connection.ping().await?;
                        }
                        Ok(true)
                    })
                }
            })
            .connect_lazy_with(options);
        Self { pool, broke }
    }

    /// A connection for one statement, within [`ACQUIRE_TIMEOUT`].
    pub(super) async fn acquire(&self) -> Result<PoolConnection<DB>, StoreError> {
        self.pool.acquire().await.map_err(|error| self.failed(error.into()))
    }

    /// Takes the connection back from a statement that ended or ran out of
    /// time, and tells how it went. `statement` is its name in the log.
    ///
    /// A connection whose statement ran out of time is closed: what the
    /// database will still send on it belongs to nobody. The others are asked
    /// by sqlx whether they are fit for the next statement; that, too, must
    /// end in time, or a connection to a host that has vanished would never
    /// make room for another.
    pub(super) fn settle<T>(
        &self,
        mut connection: PoolConnection<DB>,
        statement: &'static str,
        outcome: Result<Result<T, sqlx::Error>, Elapsed>,
    ) -> Result<T, StoreError> {
        let Ok(outcome) = outcome else {
            drop(connection.detach());
            let late = format!("{statement} took longer than {STATEMENT_TIMEOUT:?}");
            return Err(self.failed(StoreError::Unavailable(late)));
        };
        tokio::spawn(limit(connection.return_to_pool()));
        outcome.map_err(|error| self.failed(error.into()))
    }

    /// The use of the pool at this moment.
    pub(super) fn pool_use(&self) -> PoolUse {
        PoolUse { open: self.pool.size(), idle: u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX) }
    }

    /// Waits until running statements have ended, then closes all connections.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// Notes whether the error is a broken connection's.
    fn failed(&self, error: StoreError) -> StoreError {
        if let StoreError::Unavailable(_) = error {
            *self.broke.lock().unwrap_or_else(PoisonError::into_inner) = Some(Stopwatch::start());
        }
        error
    }
}

/// How long a connection may have been idle to be used unseen: not since before
/// another one broke, for the same may have happened to it.
fn trusted_for(broke: &Mutex<Option<Stopwatch>>) -> Duration {
    let broke = *broke.lock().unwrap_or_else(PoisonError::into_inner);
    broke.map_or(IDLE_UNTIL_CHECKED, |stopwatch| stopwatch.elapsed().min(IDLE_UNTIL_CHECKED))
}

/// Waits for a statement, for [`STATEMENT_TIMEOUT`] at most.
pub(super) fn limit<F: Future>(statement: F) -> Timeout<F> {
    timeout(STATEMENT_TIMEOUT, statement)
}
