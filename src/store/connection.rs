//! How a statement gets a connection, and what becomes of it afterwards.
//!
//! The limits add up to less than 3 s, so that a dead database is reported
//! within that time.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{Connection, Database};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Timeout, error::Elapsed, timeout},
};

use super::StoreError;
use crate::clock::Stopwatch;

/// How long the first connection may take, at start-up.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a statement waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an idle connection may take to say that it is alive, so that there is time
/// left to open another one.
const PING_TIMEOUT: Duration = Duration::from_millis(250);
/// How long a statement may take.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// A connection that was idle this long is asked whether it is alive before it
/// is used: after a restart of the database the first statements would fail
/// otherwise. Under load no connection is, and none is asked.
///
/// This is what [`ConnectionPool::trusted_for`] shortens after a failure.
const IDLE_UNTIL_CHECKED: Duration = Duration::from_secs(1);
/// Firewalls and load balancers forget connections that are idle for 4 minutes or
/// more, many without telling: a statement on one would get no answer. The driver
/// has no TCP keepalive.
const IDLE_TIMEOUT: Duration = Duration::from_mins(3);

/// How many connections a store may have, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolOptions {
    pub(super) size: u32,
    /// Moves connections to where a load balancer or a failover wants them.
    pub(super) max_age: Duration,
}

/// The connections of a store at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUse {
    /// Open connections.
    pub open: u32,
    /// Those of them that run no statement.
    pub idle: u32,
}

/// The connections of a store.
///
/// sqlx's own pool asks each connection that comes back whether it is fit, which
/// is a second way to the database and back for each statement. Here one is kept
/// if its statement ended well, and closed otherwise.
#[derive(Debug)]
pub(super) struct ConnectionPool<DB: Database> {
    options: <DB::Connection as Connection>::Options,
    /// A permit for each connection that is not lent.
    room: Arc<Semaphore>,
    limits: PoolOptions,
    /// The last to come back is the first to go.
    idle: Mutex<Vec<Idle<DB>>>,
    /// When a connection last broke.
    broke: Mutex<Option<Stopwatch>>,
}

#[derive(Debug)]
struct Idle<DB: Database> {
    connection: DB::Connection,
    opened: Stopwatch,
    since: Stopwatch,
}

/// A connection for one statement. It is closed if it is dropped.
#[derive(Debug)]
pub(super) struct PooledConnection<DB: Database> {
    connection: DB::Connection,
    opened: Stopwatch,
    _room: OwnedSemaphorePermit,
}

impl<DB: Database> Deref for PooledConnection<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.connection
    }
}

impl<DB: Database> DerefMut for PooledConnection<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.connection
    }
}

impl<DB: Database> ConnectionPool<DB> {
    /// Opens each connection when it is first needed.
    pub(super) fn new(options: <DB::Connection as Connection>::Options, limits: PoolOptions) -> Self {
        let room = Arc::new(Semaphore::new(usize::try_from(limits.size).unwrap_or(usize::MAX)));
        Self { options, room, limits, idle: Mutex::default(), broke: Mutex::default() }
    }

    /// A connection for one statement, within [`ACQUIRE_TIMEOUT`].
    pub(super) async fn acquire(&self) -> Result<PooledConnection<DB>, StoreError> {
        let lent = timeout(ACQUIRE_TIMEOUT, self.lend()).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(format!("no connection to the database within {ACQUIRE_TIMEOUT:?}")))
        });
        lent.map_err(|error| self.failed(error))
    }

    async fn lend(&self) -> Result<PooledConnection<DB>, StoreError> {
        let closed = |_| StoreError::Unavailable("the connections are closed".to_owned());
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(closed)?;
        while let Some(Idle { mut connection, opened, since }) = self.next_idle() {
            let idle_for = since.elapsed();
            let fit = if idle_for > IDLE_TIMEOUT || opened.elapsed() > self.limits.max_age {
                false
            } else if idle_for >= self.trusted_for() {
                timeout(PING_TIMEOUT, connection.ping()).await.is_ok_and(|answer| answer.is_ok())
            } else {
                true
            };
            if fit {
                return Ok(PooledConnection { connection, opened, _room: room });
            }
            // The database need not hear of it for us to go on.
            tokio::spawn(limit(connection.close_hard()));
        }
        let connection = DB::Connection::connect_with(&self.options).await?;
        Ok(PooledConnection { connection, opened: Stopwatch::start(), _room: room })
    }

    fn next_idle(&self) -> Option<Idle<DB>> {
        locked(&self.idle).pop()
    }

    /// Takes the connection back from a statement that ended or ran out of
    /// time, and tells how it went. `statement` is its name in the log.
    ///
    /// A connection whose statement ran out of time is closed: what the
    /// database will still send on it belongs to nobody. So is one on which
    /// something went wrong that is not the statement's own fault.
    pub(super) fn settle<T>(
        &self,
        connection: PooledConnection<DB>,
        statement: &'static str,
        outcome: Result<Result<T, sqlx::Error>, Elapsed>,
    ) -> Result<T, StoreError> {
        let Ok(outcome) = outcome else {
            let late = format!("{statement} took longer than {STATEMENT_TIMEOUT:?}");
            return Err(self.failed(StoreError::Unavailable(late)));
        };
        let outcome = outcome.map_err(|error| self.failed(error.into()));
        if !matches!(outcome, Err(StoreError::Unavailable(_))) {
            let PooledConnection { connection, opened, _room } = connection;
            // Before there is room for another one.
            locked(&self.idle).push(Idle { connection, opened, since: Stopwatch::start() });
        }
        outcome
    }

    /// The use of the pool at this moment.
    pub(super) fn pool_use(&self) -> PoolUse {
        let free = u32::try_from(self.room.available_permits()).unwrap_or(u32::MAX);
        let idle = u32::try_from(locked(&self.idle).len()).unwrap_or(u32::MAX);
        PoolUse { open: self.limits.size.saturating_sub(free) + idle, idle }
    }

    /// Waits until running statements have ended, then closes all connections.
    pub(super) async fn close(&self) {
        // An error says that this has been done.
        let Ok(all) = self.room.acquire_many(self.limits.size).await else { return };
        self.room.close();
        drop(all);
        let idle = std::mem::take(&mut *locked(&self.idle));
        for Idle { connection, .. } in idle {
            // One that can't be told goes with the process.
            let _ = limit(connection.close()).await;
        }
    }

    /// Notes whether the error is a broken connection's.
    fn failed(&self, error: StoreError) -> StoreError {
        if let StoreError::Unavailable(_) = error {
            *locked(&self.broke) = Some(Stopwatch::start());
        }
        error
    }

    /// How long a connection may have been idle to be used unseen: not since before
    /// another one broke, for the same may have happened to it.
    fn trusted_for(&self) -> Duration {
        let broke = *locked(&self.broke);
        broke.map_or(IDLE_UNTIL_CHECKED, |stopwatch| stopwatch.elapsed().min(IDLE_UNTIL_CHECKED))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a statement, for [`STATEMENT_TIMEOUT`] at most.
pub(super) fn limit<F: Future>(statement: F) -> Timeout<F> {
    timeout(STATEMENT_TIMEOUT, statement)
}
