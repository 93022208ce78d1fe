//! The connection pool of a store, and the timeouts of connections and statements.
//!
//! The timeouts of one statement add up to 3 s. `batch::CALL_TIMEOUT` ends the wait of a caller
//! before that.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{Connection, Database, Executor};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Timeout, error::Elapsed, timeout},
};

use super::{Cause, LATE_AFTER, OpenError, StoreError, error::describe};
use crate::clock::Stopwatch;

/// The timeout of the first connection, at start.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout of a statement's wait for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(1);
/// The timeout of the ping of an idle connection. It leaves time to open another one.
const PING_TIMEOUT: Duration = Duration::from_millis(250);
/// The timeout of a statement in the database.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// The timeout of a statement's response. A statement that is not late has ended by then.
pub(super) const RESPONSE_TIMEOUT: Duration = LATE_AFTER.saturating_add(STATEMENT_TIMEOUT);

/// A connection that was idle for this long is pinged before it is used. Otherwise the first
/// statements after a restart of the database would fail. Under load no connection is idle
/// for so long, and none is pinged.
///
/// [`ConnectionPool::trusted_for`] shortens this after a failure.
const PING_AFTER_IDLE: Duration = Duration::from_secs(1);
/// A connection that was idle for this long is closed. Many firewalls and load balancers
/// silently drop a connection after 4 idle minutes, so a statement on it would get no
/// response. The driver has no TCP keepalive.
const IDLE_TIMEOUT: Duration = Duration::from_mins(3);

/// Limits of a connection pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolOptions {
    /// The maximum number of connections.
    pub(super) size: u32,
    /// The maximum age of a connection. Reconnecting follows a load balancer or a failover.
    pub(super) max_age: Duration,
}

impl PoolOptions {
    /// One connection, for a short time.
    pub(super) const ONE: Self = Self { size: 1, max_age: Duration::MAX };
}

/// The number of connections of a store at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUse {
    /// Open connections.
    pub open: u32,
    /// Open connections that run no statement.
    pub idle: u32,
}

/// The preparation of each new connection.
#[async_trait]
pub(super) trait Setup<C>: fmt::Debug + Send + Sync {
    /// Prepares a connection for its first statement.
    async fn prepare(&self, connection: &mut C) -> Result<(), sqlx::Error>;
}

/// The connections of a store.
///
/// sqlx's own pool pings each returned connection, which costs a second round trip per
/// statement. This pool keeps a connection if its statement succeeded, and closes it
/// otherwise.
#[derive(Debug)]
pub(super) struct ConnectionPool<DB: Database> {
    options: <DB::Connection as Connection>::Options,
    setup: Option<Box<dyn Setup<DB::Connection>>>,
    /// One permit for each connection that is not in use.
    permits: Arc<Semaphore>,
    limits: PoolOptions,
    /// The connection that was returned last is used next.
    idle: Mutex<Vec<Idle<DB>>>,
    /// The time since a connection last failed.
    last_failure: Mutex<Option<Stopwatch>>,
}

#[derive(Debug)]
struct Idle<DB: Database> {
    connection: DB::Connection,
    opened: Stopwatch,
    /// Runs since the connection was returned.
    returned: Stopwatch,
}

/// A connection for one statement. Dropping it closes it.
#[derive(Debug)]
pub(super) struct PooledConnection<DB: Database> {
    connection: DB::Connection,
    opened: Stopwatch,
    _permit: OwnedSemaphorePermit,
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

impl<DB: Database> ConnectionPool<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    /// Creates an empty pool. It opens a connection when one is needed.
    pub(super) fn new(options: <DB::Connection as Connection>::Options, limits: PoolOptions) -> Self {
        let permits = Arc::new(Semaphore::new(usize::try_from(limits.size).unwrap_or(usize::MAX)));
        let (idle, last_failure) = (Mutex::default(), Mutex::default());
        Self { options, setup: None, permits, limits, idle, last_failure }
    }

    /// Prepares each new connection.
    pub(super) fn with_setup(self, setup: impl Setup<DB::Connection> + 'static) -> Self {
        Self { setup: Some(Box::new(setup)), ..self }
    }

    /// Returns a connection for one statement, within [`ACQUIRE_TIMEOUT`].
    pub(super) async fn acquire(&self) -> Result<PooledConnection<DB>, StoreError> {
        let acquired = timeout(ACQUIRE_TIMEOUT, self.reuse_or_open()).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(format!("no connection to the database within {ACQUIRE_TIMEOUT:?}")))
        });
        acquired.map_err(|error| self.note_failure(error))
    }

    async fn reuse_or_open(&self) -> Result<PooledConnection<DB>, StoreError> {
        let closed = |_| StoreError::Unavailable("the connections are closed".to_owned());
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(closed)?;
        while let Some(Idle { mut connection, opened, returned }) = self.next_idle() {
            let idle_for = returned.elapsed();
            let usable = if idle_for > IDLE_TIMEOUT || opened.elapsed() > self.limits.max_age {
                false
            } else if idle_for >= self.trusted_for() {
                timeout(PING_TIMEOUT, connection.ping()).await.is_ok_and(|pinged| pinged.is_ok())
            } else {
                true
            };
            if usable {
                return Ok(PooledConnection { connection, opened, _permit: permit });
            }
            // The statement does not wait until the connection is closed.
            tokio::spawn(with_timeout(connection.close_hard()));
        }
        let mut connection = DB::Connection::connect_with(&self.options).await?;
        if let Some(setup) = &self.setup {
            setup.prepare(&mut connection).await?;
        }
        Ok(PooledConnection { connection, opened: Stopwatch::start(), _permit: permit })
    }

    fn next_idle(&self) -> Option<Idle<DB>> {
        lock(&self.idle).pop()
    }

    /// Takes back the connection of a statement that ended or timed out, and returns the
    /// statement's result. `statement` is its name in the log.
    ///
    /// The connection is closed after a timeout, because a later response of the database
    /// would be taken for the next statement's. It is also closed after an error that the
    /// statement itself did not cause.
    pub(super) fn release<T>(
        &self,
        connection: PooledConnection<DB>,
        statement: &'static str,
        outcome: Result<Result<T, sqlx::Error>, Elapsed>,
    ) -> Result<T, StoreError> {
        let Ok(outcome) = outcome else {
            let text = format!("{statement} took longer than {RESPONSE_TIMEOUT:?}");
            return Err(self.note_failure(StoreError::Unavailable(text)));
        };
        let outcome = outcome.map_err(|error| self.note_failure(error.into()));
        if !matches!(outcome, Err(StoreError::Unavailable(_))) {
            // The permit is released after the push, so that the next statement finds the
            // connection.
            let PooledConnection { connection, opened, _permit } = connection;
            lock(&self.idle).push(Idle { connection, opened, returned: Stopwatch::start() });
        }
        outcome
    }

    /// Returns the number of open and of idle connections.
    pub(super) fn pool_use(&self) -> PoolUse {
        let free = u32::try_from(self.permits.available_permits()).unwrap_or(u32::MAX);
        let idle = u32::try_from(lock(&self.idle).len()).unwrap_or(u32::MAX);
        PoolUse { open: self.limits.size.saturating_sub(free) + idle, idle }
    }

    /// Waits until running statements have ended, then closes all connections.
    pub(super) async fn close(&self) {
        // An error means that the pool is already closed.
        let Ok(all) = self.permits.acquire_many(self.limits.size).await else { return };
        self.permits.close();
        drop(all);
        let idle = std::mem::take(&mut *lock(&self.idle));
        for Idle { connection, .. } in idle {
            // A connection that fails to close ends with the process.
            let _ = with_timeout(connection.close()).await;
        }
    }

    /// Notes the time if the error is that of a broken connection.
    fn note_failure(&self, error: StoreError) -> StoreError {
        if let StoreError::Unavailable(_) = error {
            *lock(&self.last_failure) = Some(Stopwatch::start());
        }
        error
    }

    /// Returns how long a connection may have been idle and still be used without a ping.
    /// A connection that was idle when another one failed may be broken, too.
    fn trusted_for(&self) -> Duration {
        let last_failure = *lock(&self.last_failure);
        last_failure.map_or(PING_AFTER_IDLE, |stopwatch| stopwatch.elapsed().min(PING_AFTER_IDLE))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Limits a statement to [`RESPONSE_TIMEOUT`].
pub(super) fn with_timeout<F: Future>(statement: F) -> Timeout<F> {
    timeout(RESPONSE_TIMEOUT, statement)
}

/// Opens a first connection within [`CONNECT_TIMEOUT`].
pub(super) async fn connect_first<C>(
    connect: impl Future<Output = Result<C, sqlx::Error>>,
) -> Result<C, OpenError> {
    match timeout(CONNECT_TIMEOUT, connect).await {
        Ok(connected) => connected.map_err(unreachable),
        Err(_) => Err(OpenError::Unreachable {
            cause: Cause::NoResponse,
            text: format!("no response within {CONNECT_TIMEOUT:?}"),
        }),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a function for map_err")]
pub(super) fn unreachable(error: sqlx::Error) -> OpenError {
    OpenError::Unreachable { cause: Cause::from(&error), text: describe(&error) }
}
