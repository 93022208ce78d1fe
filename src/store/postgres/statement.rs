//! How a statement runs: by itself on a connection of ours, or, where the
//! connection behind it is anybody's, in a transaction.

use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, Either, Executor, PgConnection, Postgres,
    postgres::{PgArguments, PgConnectOptions, PgRow},
    query::Query,
};

use super::ONE_PLAN;
use crate::store::{
    PoolUse, StoreError,
    connection::{ConnectionPool, PoolOptions, STATEMENT_TIMEOUT, limit},
};

/// The connections of a store, and how its statements use them.
#[derive(Debug)]
pub(super) struct Statements {
    pool: ConnectionPool<Postgres>,
    /// Begins the transaction that each statement has for itself; nothing where
    /// connections are the store's own.
    begin: Option<Arc<str>>,
}

/// What came of a statement.
#[derive(Debug, Default)]
pub(super) struct StatementResult {
    pub(super) rows: Vec<PgRow>,
    pub(super) affected: u64,
}

impl StatementResult {
    /// The one row of a statement that always has one.
    pub(super) fn row(&self) -> Result<&PgRow, StoreError> {
        self.rows.first().ok_or_else(|| StoreError::Data("no row where there is always one".to_owned()))
    }
}

impl Statements {
    /// On connections that are the store's alone: what holds for all its statements
    /// is said once, and each is prepared once.
    pub(super) fn on_own_connections(options: &PgConnectOptions, pool: PoolOptions) -> Self {
        let timeout = ("statement_timeout", STATEMENT_TIMEOUT.as_millis().to_string());
        let options = options.clone().options(ONE_PLAN).options([timeout]);
        Self { pool: ConnectionPool::new(options, pool), begin: None }
    }

    /// On connections to a pgbouncer, which has one of the database's for as long as
    /// a transaction lasts.
    ///
    /// To sqlx a statement is two messages, to parse it and to run it, and an answer
    /// between them. Outside of a transaction the second may come to a connection
    /// on which somebody else has parsed another statement meanwhile, and run that.
    /// So each statement has a transaction, also to say what holds for it.
    pub(super) fn through_pgbouncer(options: &PgConnectOptions, pool: PoolOptions) -> Self {
        let timeout = STATEMENT_TIMEOUT.as_millis().to_string();
        // A client that vanishes in the middle must not leave its locks behind.
        let timeouts = ["statement_timeout", "idle_in_transaction_session_timeout"];
        let settings = ONE_PLAN.into_iter().chain(timeouts.map(|name| (name, timeout.as_str())));
        let settings = settings.map(|(name, value)| format!("; set local {name} = {value}"));
        let begin = format!("begin{}", settings.collect::<String>());
        Self { pool: ConnectionPool::new(options.clone(), pool), begin: Some(begin.into()) }
    }

    /// Runs a statement to its end. `name` is its name in the log.
    pub(super) async fn run(
        &self,
        name: &'static str,
        statement: Query<'_, Postgres, PgArguments>,
    ) -> Result<StatementResult, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let outcome = limit(async {
            match &self.begin {
                None => execute(&mut connection, statement).await,
                Some(begin) => in_transaction(&mut connection, begin, statement).await,
            }
        });
        let outcome = outcome.await;
        self.pool.settle(connection, name, outcome)
    }

    pub(super) fn pool_use(&self) -> PoolUse {
        self.pool.pool_use()
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// How to connect to a pgbouncer. It refuses settings that it does not know for a
/// connection, and a statement that has a name would be left behind on the
/// connection of the next.
pub(in crate::store) fn pooled(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().extra_float_digits(None).statement_cache_capacity(0)
}

async fn in_transaction(
    connection: &mut PgConnection,
    begin: &Arc<str>,
    statement: Query<'_, Postgres, PgArguments>,
) -> Result<StatementResult, sqlx::Error> {
    connection.execute(AssertSqlSafe(Arc::clone(begin))).await?;
    let done = execute(connection, statement.persistent(false)).await;
    connection.execute(if done.is_ok() { "commit" } else { "rollback" }).await?;
    done
}

async fn execute(
    connection: &mut PgConnection,
    statement: Query<'_, Postgres, PgArguments>,
) -> Result<StatementResult, sqlx::Error> {
    let mut done = StatementResult::default();
    let mut results = connection.fetch_many(statement);
    while let Some(result) = results.try_next().await? {
        match result {
            Either::Left(ended) => done.affected += ended.rows_affected(),
            Either::Right(row) => done.rows.push(row),
        }
    }
    Ok(done)
}
