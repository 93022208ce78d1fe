//! A database as its URL names it: migrated, checked and opened as a store.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use sqlx::{
    Connection, PgConnection, SqliteConnection, postgres::PgConnectOptions, sqlite::SqliteConnectOptions,
};
use tokio::{sync::Mutex, time::timeout};

use super::{
    Changes, OpenError, Store,
    changes::Notifier,
    connection::{CONNECT_TIMEOUT, PoolOptions},
    postgres::{self, Listener, PostgresStore},
    schema,
    sqlite::{self, SqliteStore},
};

/// How long a store uses a connection, unless it is told otherwise.
const CONNECTION_MAX_AGE: Duration = Duration::from_mins(30);

/// A database that was reached once.
#[derive(Debug)]
pub struct Database {
    engine: Engine,
    connection_max_age: Duration,
}

enum Engine {
    /// Shared by any number of replicas.
    Postgres {
        direct: PgConnectOptions,
        /// What stands between it and the stores, if anything does.
        pgbouncer: Option<Box<PgConnectOptions>>,
    },
    /// A file of this process, or its memory.
    Sqlite {
        options: SqliteConnectOptions,
        /// Only held. A database in memory lasts as long as a connection to it
        /// does, and the pools open and close theirs as they like.
        anchor: Mutex<Option<SqliteConnection>>,
        /// What the stores say to those who watch.
        notifier: Notifier,
    },
}

/// Which engine a URL names.
pub(super) enum Kind {
    Postgres,
    Sqlite,
}

impl Kind {
    pub(super) fn of(url: &str) -> Result<Self, OpenError> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            Some("sqlite") => Ok(Self::Sqlite),
            _ => Err(OpenError::Url("it must begin with postgres:// or sqlite:".to_owned())),
        }
    }
}

impl Database {
    /// Connects once to the database that the URL names, so that a wrong URL or
    /// a dead server shows here. An SQLite file is created if there is none.
    pub async fn connect(url: &str) -> Result<Self, OpenError> {
        let engine = match Kind::of(url)? {
            Kind::Postgres => Engine::Postgres { direct: postgres::options(url)?, pgbouncer: None },
            Kind::Sqlite => Engine::Sqlite {
                options: sqlite::options(url)?,
                anchor: Mutex::default(),
                notifier: Notifier::new(),
            },
        };
        Self::reached(engine).await
    }

    /// The same for a PostgreSQL to which the first URL leads through a pgbouncer in
    /// transaction mode, and the second without it. It takes the second way where a
    /// connection must be its own: to listen, and to migrate.
    pub async fn connect_through_pgbouncer(url: &str, direct_url: &str) -> Result<Self, OpenError> {
        let pgbouncer = Some(Box::new(postgres::pooled(&postgres::options(url)?)));
        Self::reached(Engine::Postgres { direct: postgres::options(direct_url)?, pgbouncer }).await
    }

    /// A PostgreSQL that may be away, to be read from: only [`Self::open`] it.
    pub fn for_reads(url: &str, through_pgbouncer: bool) -> Result<Self, OpenError> {
        let direct = postgres::options(url)?;
        let pgbouncer = through_pgbouncer.then(|| Box::new(postgres::pooled(&direct)));
        let engine = Engine::Postgres { direct, pgbouncer };
        Ok(Self { engine, connection_max_age: CONNECTION_MAX_AGE })
    }

    async fn reached(engine: Engine) -> Result<Self, OpenError> {
        let database = Self { engine, connection_max_age: CONNECTION_MAX_AGE };
        let reached = match &database.engine {
            Engine::Postgres { direct, pgbouncer } => {
                let ways = pgbouncer.as_deref().into_iter().chain([direct]);
                let reached = ways.map(|way| reach(PgConnection::connect_with(way)));
                try_join_all(reached).await.map(drop)
            }
            Engine::Sqlite { options, anchor, .. } => {
                let mut anchor = anchor.lock().await;
                reach(SqliteConnection::connect_with(options))
                    .await
                    .map(|connection| *anchor = Some(connection))
            }
        };
        database.name_it(reached)?;
        Ok(database)
    }

    /// Has its stores use a connection for so long.
    #[must_use]
    pub fn with_connection_max_age(self, connection_max_age: Duration) -> Self {
        Self { connection_max_age, ..self }
    }

    /// Adds to an error which database it is about.
    fn name_it<T>(&self, outcome: Result<T, OpenError>) -> Result<T, OpenError> {
        outcome.map_err(|error| match error {
            OpenError::Unreachable(error) => OpenError::Unreachable(format!("{}: {error}", self.describe())),
            error => error,
        })
    }

    /// Why no connection can be had now, in the database's own words; `None` if
    /// one can. A pool only says that it had to wait for too long.
    pub async fn unreachable_because(&self) -> Option<String> {
        let reached = match &self.engine {
            Engine::Postgres { direct, pgbouncer } => {
                let way = pgbouncer.as_deref().unwrap_or(direct);
                reach(PgConnection::connect_with(way)).await.map(drop)
            }
            Engine::Sqlite { options, .. } => reach(SqliteConnection::connect_with(options)).await.map(drop),
        };
        reached.err().map(|error| error.to_string())
    }

    /// What it is, and where, without its secrets; for the log.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.engine {
            Engine::Postgres { direct, pgbouncer } => postgres::describe(direct, pgbouncer.as_deref()),
            Engine::Sqlite { options, .. } => sqlite::describe(options),
        }
    }

    /// What OpenTelemetry calls it (`db.system.name`).
    #[must_use]
    pub const fn system(&self) -> &'static str {
        match self.engine {
            Engine::Postgres { .. } => "postgresql",
            Engine::Sqlite { .. } => "sqlite",
        }
    }

    /// Whether one worker at most can use it: SQLite has a single writer.
    #[must_use]
    pub fn has_one_writer(&self) -> bool {
        matches!(self.engine, Engine::Sqlite { .. })
    }

    /// Applies the migrations that the database lacks. Any number of processes
    /// may do so at once.
    pub async fn migrate(&self) -> Result<(), OpenError> {
        self.name_it(match &self.engine {
            Engine::Postgres { direct, .. } => schema::migrate_postgres(direct).await,
            Engine::Sqlite { options, .. } => schema::migrate_sqlite(options).await,
        })
    }

    /// Refuses a schema that this binary can't use, with both versions in the
    /// error; warns of a newer one that it can.
    pub async fn check(&self) -> Result<(), OpenError> {
        self.name_it(match &self.engine {
            Engine::Postgres { direct, .. } => schema::check_postgres(direct).await,
            Engine::Sqlite { options, .. } => schema::check_sqlite(options).await,
        })
    }

    /// A store with up to `connections` connections. Call it on the runtime
    /// that will use the store: connections belong to theirs.
    #[must_use]
    pub fn open(&self, connections: u32) -> Arc<dyn Store> {
        let pool = PoolOptions { size: connections, max_age: self.connection_max_age };
        match &self.engine {
            Engine::Postgres { pgbouncer: Some(pgbouncer), .. } => {
                Arc::new(PostgresStore::through_pgbouncer(pgbouncer, pool))
            }
            Engine::Postgres { direct, pgbouncer: None } => Arc::new(PostgresStore::new(direct, pool)),
            Engine::Sqlite { options, notifier, .. } => {
                Arc::new(SqliteStore::new(options, pool, notifier.clone()))
            }
        }
    }

    /// Invalidations of what all its stores write, those of other processes included.
    /// Listens once it is asked for the first one.
    #[must_use]
    pub fn changes(&self) -> Changes {
        match &self.engine {
            Engine::Postgres { direct, .. } => Changes::on_postgres(Listener::new(direct.clone())),
            Engine::Sqlite { notifier, .. } => notifier.changes(),
        }
    }

    /// Closes the last connection. An SQLite file is one file then: its journal
    /// has been merged into it.
    pub async fn close(&self) {
        if let Engine::Sqlite { anchor, .. } = &self.engine
            && let Some(anchor) = anchor.lock().await.take()
        {
            // It ends with the process otherwise, and nothing is lost by that.
            drop(anchor.close().await);
        }
    }
}

impl fmt::Debug for Engine {
    /// The description: the connection settings hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres { .. } => "Postgres",
            Self::Sqlite { .. } => "Sqlite",
        })
    }
}

/// A first connection, within [`CONNECT_TIMEOUT`].
pub(super) async fn reach<C>(connect: impl Future<Output = Result<C, sqlx::Error>>) -> Result<C, OpenError> {
    match timeout(CONNECT_TIMEOUT, connect).await {
        Ok(connected) => connected.map_err(unreachable),
        Err(_) => Err(OpenError::Unreachable(format!("no answer within {CONNECT_TIMEOUT:?}"))),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a function for map_err")]
pub(super) fn unreachable(error: sqlx::Error) -> OpenError {
    OpenError::Unreachable(error.to_string())
}
