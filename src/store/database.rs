//! The database that a URL names: connected to, migrated, checked, and opened as a store.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::future::try_join;
use sqlx::{
    Connection, PgConnection, SqliteConnection, postgres::PgConnectOptions, sqlite::SqliteConnectOptions,
};
use tokio::{sync::Mutex, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    InvalidationFeed, OpenError, Store,
    connection::{PoolOptions, connect_first, unreachable},
    history::HistoryMode,
    invalidation::{InvalidationSwitch, Notifier},
    kind::Kind,
    postgres::{self, Listener, PostgresStore, Shards, Shared},
    room::Evictions,
    schema,
    sqlite::{self, Room, SqliteStore},
};
use crate::clock::{DatabaseClock, Stopwatch};

/// The default maximum age of a store's connections.
const CONNECTION_MAX_AGE: Duration = Duration::from_mins(30);

/// The interval at which the shards are read.
const SHARDS_INTERVAL: Duration = Duration::from_mins(1);

/// The time for which a start waits for a database that is read-only.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause between two attempts.
const FAILOVER_PAUSE: Duration = Duration::from_secs(1);

/// A database to which a connection was made once.
#[derive(Debug)]
pub struct Database {
    engine: Engine,
    connection_max_age: Duration,
    /// The clock that follows the database's.
    clock: DatabaseClock,
    history: Arc<HistoryMode>,
    evictions: Arc<Evictions>,
}

enum Engine {
    /// A server that any number of replicas share.
    Postgres {
        direct: PgConnectOptions,
        /// The pgbouncer in front of the server, if the stores use one.
        pgbouncer: Option<Box<PgConnectOptions>>,
        /// The shards, once it is known that Citus distributes the tables.
        shards: OnceLock<Arc<Shards>>,
    },
    /// A file or a database in memory, used by this process only.
    Sqlite {
        options: SqliteConnectOptions,
        /// An open connection that runs no statements. A database in memory exists only
        /// while a connection to it is open, and the pools may close all of theirs.
        anchor: Mutex<Option<SqliteConnection>>,
        /// The sender of the stores' invalidations.
        notifier: Notifier,
    },
}

impl Database {
    /// Connects once to the database that the URL names, so that a wrong URL or an
    /// unreachable server fails here. Creates a missing SQLite file.
    pub async fn connect(url: &str) -> Result<Self, OpenError> {
        let engine = match Kind::of(url)? {
            Kind::Postgres => {
                Engine::Postgres { direct: postgres::parse(url)?, pgbouncer: None, shards: OnceLock::new() }
            }
            Kind::Sqlite => Engine::Sqlite {
                options: sqlite::parse(url)?,
                anchor: Mutex::default(),
                notifier: Notifier::new(),
            },
        };
        Self::connect_to(engine).await
    }

    /// Connects once to a PostgreSQL server through both URLs. The first leads through a
    /// pgbouncer in transaction mode. The second leads to the server itself; listening and
    /// migrating use it, because they need a session of their own.
    pub async fn connect_through_pgbouncer(url: &str, direct_url: &str) -> Result<Self, OpenError> {
        let pgbouncer = Some(Box::new(postgres::for_pgbouncer(&postgres::parse(url)?)));
        let (direct, shards) = (postgres::parse(direct_url)?, OnceLock::new());
        Self::connect_to(Engine::Postgres { direct, pgbouncer, shards }).await
    }

    /// Creates a read replica, without connecting, because it may be unavailable. Only
    /// [`Self::open`] may be called on it.
    pub fn for_reads(url: &str, through_pgbouncer: bool) -> Result<Self, OpenError> {
        let direct = postgres::parse(url)?;
        let pgbouncer = through_pgbouncer.then(|| Box::new(postgres::for_pgbouncer(&direct)));
        let engine = Engine::Postgres { direct, pgbouncer, shards: OnceLock::new() };
        Ok(Self {
            engine,
            connection_max_age: CONNECTION_MAX_AGE,
            clock: DatabaseClock::new(),
            history: Arc::new(HistoryMode::new(true)),
            evictions: Arc::new(Evictions::new()),
        })
    }

    async fn connect_to(engine: Engine) -> Result<Self, OpenError> {
        let clock = DatabaseClock::new();
        let (history, evictions) = (Arc::new(HistoryMode::new(true)), Arc::new(Evictions::new()));
        let database = Self { engine, connection_max_age: CONNECTION_MAX_AGE, clock, history, evictions };
        let connected = match &database.engine {
            Engine::Postgres { pgbouncer, .. } => {
                let through_pgbouncer = async {
                    match pgbouncer {
                        Some(route) => connect_first(PgConnection::connect_with(route)).await.map(drop),
                        None => Ok(()),
                    }
                };
                try_join(through_pgbouncer, database.read_shards()).await.map(drop)
            }
            Engine::Sqlite { options, anchor, .. } => {
                let mut anchor = anchor.lock().await;
                connect_first(SqliteConnection::connect_with(options))
                    .await
                    .map(|connection| *anchor = Some(connection))
            }
        };
        database.with_description(connected)?;
        Ok(database)
    }

    /// Sets the maximum age of the stores' connections.
    #[must_use]
    pub fn with_connection_max_age(self, connection_max_age: Duration) -> Self {
        Self { connection_max_age, ..self }
    }

    /// Makes the stores use this clock, and follow the database's with it.
    #[must_use]
    pub fn with_clock(self, clock: DatabaseClock) -> Self {
        Self { clock, ..self }
    }

    /// Makes the stores append spans to the history, or not. They do by default.
    #[must_use]
    pub fn with_history(self, keeps: bool) -> Self {
        Self { history: Arc::new(HistoryMode::new(keeps)), ..self }
    }

    /// The number of live sessions that the stores of this process cleared for lack of room.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions.number()
    }

    /// The number of spans that the stores of this process appended to the history, without those of
    /// writes that failed.
    #[must_use]
    pub fn spans_appended(&self) -> u64 {
        self.history.appended()
    }

    /// The clock of the stores, which follows the database's.
    #[must_use]
    pub const fn clock(&self) -> &DatabaseClock {
        &self.clock
    }

    /// Adds the description of the database to an error.
    fn with_description<T>(&self, outcome: Result<T, OpenError>) -> Result<T, OpenError> {
        outcome.map_err(|error| match error {
            OpenError::Unreachable { cause, text } => {
                OpenError::Unreachable { cause, text: format!("{}: {text}", self.describe()) }
            }
            error => error,
        })
    }

    /// Tries to connect. Returns the error of the database, or `None` on success. A pool
    /// reports only that its wait timed out.
    pub async fn connection_error(&self) -> Option<String> {
        let connected = match &self.engine {
            Engine::Postgres { direct, pgbouncer, .. } => {
                let route = pgbouncer.as_deref().unwrap_or(direct);
                connect_first(PgConnection::connect_with(route)).await.map(drop)
            }
            Engine::Sqlite { options, .. } => {
                connect_first(SqliteConnection::connect_with(options)).await.map(drop)
            }
        };
        connected.err().map(|error| error.to_string())
    }

    /// Describes the engine and the address, without secrets, for the log.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.engine {
            Engine::Postgres { direct, pgbouncer, .. } => postgres::describe(direct, pgbouncer.as_deref()),
            Engine::Sqlite { options, .. } => sqlite::describe(options),
        }
    }

    /// Returns OpenTelemetry's name of the engine (`db.system.name`).
    #[must_use]
    pub const fn system(&self) -> &'static str {
        match self.engine {
            Engine::Postgres { .. } => "postgresql",
            Engine::Sqlite { .. } => "sqlite",
        }
    }

    /// Whether only one worker can use the database. SQLite has a single writer.
    #[must_use]
    pub fn has_one_writer(&self) -> bool {
        matches!(self.engine, Engine::Sqlite { .. })
    }

    /// Applies the missing migrations. Any number of processes may do so concurrently.
    pub async fn migrate(&self) -> Result<(), OpenError> {
        self.with_description(match &self.engine {
            Engine::Postgres { direct, .. } => schema::migrate_postgres(direct).await,
            Engine::Sqlite { options, .. } => schema::migrate_sqlite(options).await,
        })
    }

    /// Fails if this binary can't use the schema, which the error says with both versions, or if
    /// the database can't run a statement, which the error says with the statement's name, the
    /// database's words, and what to grant. Logs a warning if the schema is newer and usable.
    ///
    /// A read-only database may be one in a failover, so this waits for it a while.
    pub async fn check(&self) -> Result<(), OpenError> {
        self.with_description(match &self.engine {
            Engine::Postgres { direct, .. } => {
                schema::check_postgres(direct).await?;
                self.check_statements(direct).await
            }
            Engine::Sqlite { options, .. } => schema::check_sqlite(options).await,
        })
    }

    /// Reads the shards, if Citus distributes the tables.
    async fn read_shards(&self) -> Result<(), OpenError> {
        let Engine::Postgres { direct, shards, .. } = &self.engine else { return Ok(()) };
        let mut connection = connect_first(PgConnection::connect_with(direct)).await?;
        if let Some(known) = shards.get() {
            known.refresh(&mut connection).await.map_err(unreachable)?;
        } else if let Some(found) = Shards::read(&mut connection).await.map_err(unreachable)? {
            // Another task may have been first, with the same shards.
            drop(shards.set(Arc::new(found)));
        }
        connection.close().await.map_err(unreachable)
    }

    /// The shards, if Citus distributes the tables.
    fn shards(&self) -> Option<Arc<Shards>> {
        match &self.engine {
            Engine::Postgres { shards, .. } => shards.get().cloned(),
            Engine::Sqlite { .. } => None,
        }
    }

    /// Whether Citus distributes the tables.
    #[must_use]
    pub fn is_distributed(&self) -> bool {
        self.shards().is_some()
    }

    /// Reads the shards every minute until `stop`, because shards can be split.
    pub async fn follow_shards(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            stop.run_until_cancelled(sleep(SHARDS_INTERVAL)).await;
            if let Err(error) = self.read_shards().await {
                debug!(%error, "reading the shards failed");
            }
        }
    }

    /// Distributes the tables of a migrated database by user on Citus, into `number` shards if
    /// given. Returns the number of shards.
    pub async fn distribute(&self, number: Option<u32>) -> Result<usize, OpenError> {
        let Engine::Postgres { direct, .. } = &self.engine else {
            return Err(OpenError::Incompatible(
                "only tables on Citus can be distributed, and this is SQLite".to_owned(),
            ));
        };
        let mut connection = connect_first(PgConnection::connect_with(direct)).await?;
        let distributed = postgres::distribute(&mut connection, number).await;
        self.with_description(distributed)?;
        self.read_shards().await?;
        Ok(self.shards().map_or(0, |shards| shards.number()))
    }

    /// Runs every statement in transactions that are rolled back. The error has the name of the
    /// first one that fails, the database's words, and what to grant.
    pub async fn can_run_statements(&self) -> Result<(), String> {
        let Engine::Postgres { direct, .. } = &self.engine else { return Ok(()) };
        let checked = postgres::check_statements(direct, self.shards()).await;
        checked.map_err(|failed| match failed.grant(direct.get_username()) {
            Some(grant) => format!("{failed}; {grant}"),
            None => failed.to_string(),
        })
    }

    async fn check_statements(&self, options: &PgConnectOptions) -> Result<(), OpenError> {
        let waiting = Stopwatch::start();
        let store = PostgresStore::new(options, PoolOptions::ONE, self.shared(self.shards()));
        loop {
            // This is also the first sample of the database's clock.
            let failed = match store.database_time().await {
                Ok(_) => match self.can_run_statements().await {
                    Ok(()) => break,
                    Err(text) => OpenError::Incompatible(text),
                },
                Err(error) => OpenError::Incompatible(format!("it can't run database_time: {error}")),
            };
            if waiting.elapsed() >= FAILOVER_TIMEOUT || !store.is_read_only().await {
                return Err(failed);
            }
            warn!("the database is read-only; waiting up to {FAILOVER_TIMEOUT:?} for the end of a failover");
            sleep(FAILOVER_PAUSE).await;
        }
        store.close().await;
        Ok(())
    }

    /// Opens a store with up to `connections` connections. Call it on the runtime that will
    /// use the store, because a connection is bound to its runtime.
    #[must_use]
    pub fn open(&self, connections: u32) -> Arc<dyn Store> {
        let pool = PoolOptions { size: connections, max_age: self.connection_max_age };
        match &self.engine {
            Engine::Postgres { direct, pgbouncer, shards } => {
                let shared = self.shared(shards.get().cloned());
                Arc::new(match pgbouncer {
                    Some(pgbouncer) => PostgresStore::through_pgbouncer(pgbouncer, pool, shared),
                    None => PostgresStore::new(direct, pool, shared),
                })
            }
            Engine::Sqlite { options, notifier, .. } => {
                let (clock, history) = (self.clock.clone(), Arc::clone(&self.history));
                let (evictions, notifier) = (Arc::clone(&self.evictions), notifier.clone());
                Arc::new(SqliteStore::new(options, pool, clock, history, Room { evictions, notifier }))
            }
        }
    }

    fn shared(&self, shards: Option<Arc<Shards>>) -> Shared {
        let (clock, history) = (self.clock.clone(), Arc::clone(&self.history));
        Shared { clock, shards, history, evictions: Arc::clone(&self.evictions) }
    }

    /// Opens the feed of invalidations from all stores of the database, including those of
    /// other processes. It starts to listen with the first call of
    /// [`InvalidationFeed::next`].
    #[must_use]
    pub fn invalidations(&self) -> InvalidationFeed {
        match &self.engine {
            Engine::Postgres { direct, .. } => InvalidationFeed::from_listener(Listener::new(direct.clone())),
            Engine::Sqlite { notifier, .. } => InvalidationFeed::from_notifier(notifier),
        }
    }

    /// Returns the switch of the invalidations of this process. PostgreSQL notifies its replicas in
    /// any case.
    #[must_use]
    pub fn invalidation_switch(&self) -> InvalidationSwitch {
        match &self.engine {
            Engine::Postgres { .. } => InvalidationSwitch::new(),
            Engine::Sqlite { notifier, .. } => notifier.switch(),
        }
    }

    /// Closes the last connection. SQLite then merges its write-ahead log into the database
    /// file.
    pub async fn close(&self) {
        if let Engine::Sqlite { anchor, .. } = &self.engine
            && let Some(anchor) = anchor.lock().await.take()
        {
            // On failure the connection ends with the process, and no data is lost.
            drop(anchor.close().await);
        }
    }
}

impl fmt::Debug for Engine {
    /// Writes only the name of the engine, because the connection settings hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres { .. } => "Postgres",
            Self::Sqlite { .. } => "Sqlite",
        })
    }
}
