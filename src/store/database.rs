//! A database as its URL names it: migrated, checked and opened as a store.

use std::{fmt, sync::Arc};

use sqlx::{
    Connection, PgConnection, SqliteConnection, postgres::PgConnectOptions, sqlite::SqliteConnectOptions,
};
use tokio::{sync::Mutex, time::timeout};

use super::{
    Changes, OpenError, Store,
    changes::Teller,
    connection::CONNECT_TIMEOUT,
    postgres::{self, Listener, PostgresStore},
    schema,
    sqlite::{self, SqliteStore},
};

/// A database that was reached once.
#[derive(Debug)]
pub struct Database {
    engine: Engine,
}

enum Engine {
    /// Shared by any number of replicas.
    Postgres(PgConnectOptions),
    /// A file of this process, or its memory.
    Sqlite {
        options: SqliteConnectOptions,
        /// Only held. A database in memory lasts as long as a connection to it
        /// does, and the pools open and close theirs as they like.
        anchor: Mutex<Option<SqliteConnection>>,
        /// What the stores say to those who watch.
        teller: Teller,
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
            Kind::Postgres => Engine::Postgres(postgres::options(url)?),
            Kind::Sqlite => Engine::Sqlite {
                options: sqlite::options(url)?,
                anchor: Mutex::default(),
                teller: Teller::new(),
            },
        };
        let database = Self { engine };
        let reached = match &database.engine {
            Engine::Postgres(options) => reach(PgConnection::connect_with(options)).await.map(drop),
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
            Engine::Postgres(options) => reach(PgConnection::connect_with(options)).await.map(drop),
            Engine::Sqlite { options, .. } => reach(SqliteConnection::connect_with(options)).await.map(drop),
        };
        reached.err().map(|error| error.to_string())
    }

    /// What it is, and where, without its secrets; for the log.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.engine {
            Engine::Postgres(options) => postgres::describe(options),
            Engine::Sqlite { options, .. } => sqlite::describe(options),
        }
    }

    /// What OpenTelemetry calls it (`db.system.name`).
    #[must_use]
    pub const fn system(&self) -> &'static str {
        match self.engine {
            Engine::Postgres(_) => "postgresql",
            Engine::Sqlite { .. } => "sqlite",
        }
    }

    /// Whether one lane at most can use it: SQLite has a single writer.
    #[must_use]
    pub fn has_one_writer(&self) -> bool {
        matches!(self.engine, Engine::Sqlite { .. })
    }

    /// Applies the migrations that the database lacks. Any number of processes
    /// may do so at once.
    pub async fn migrate(&self) -> Result<(), OpenError> {
        self.name_it(match &self.engine {
            Engine::Postgres(options) => schema::migrate_postgres(options).await,
            Engine::Sqlite { options, .. } => schema::migrate_sqlite(options).await,
        })
    }

    /// Refuses a schema that this binary can't use, with both versions in the
    /// error; warns of a newer one that it can.
    pub async fn check(&self) -> Result<(), OpenError> {
        self.name_it(match &self.engine {
            Engine::Postgres(options) => schema::check_postgres(options).await,
            Engine::Sqlite { options, .. } => schema::check_sqlite(options).await,
        })
    }

    /// A store with up to `connections` connections. Call it on the runtime
    /// that will use the store: connections belong to theirs.
    #[must_use]
    pub fn open(&self, connections: u32) -> Arc<dyn Store> {
        match &self.engine {
            Engine::Postgres(options) => Arc::new(PostgresStore::new(options, connections)),
            Engine::Sqlite { options, teller, .. } => {
                Arc::new(SqliteStore::new(options, connections, teller.clone()))
            }
        }
    }

    /// Hints of what all its stores write, those of other processes included.
    /// Listens once it is asked for the first one.
    #[must_use]
    pub fn changes(&self) -> Changes {
        match &self.engine {
            Engine::Postgres(options) => Changes::on_postgres(Listener::new(options.clone())),
            Engine::Sqlite { teller, .. } => teller.changes(),
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
            Self::Postgres(_) => "Postgres",
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
