//! Running a statement: by itself on a connection of this store, or in a transaction through
//! a pgbouncer, whose server connections are shared.

use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, Either, Executor, PgConnection, Postgres,
    postgres::{PgArguments, PgConnectOptions, PgRow},
    query::Query,
};

use crate::store::{
    PoolUse, StoreError,
    connection::{ConnectionPool, PoolOptions, STATEMENT_TIMEOUT, with_timeout},
};

/// Settings that plan each statement once per connection.
///
/// PostgreSQL would plan each batch anew, because a plan for its exact length looks cheaper.
/// Planning takes longer than running the statement. The single plan must suit any later size
/// of the tables, so it joins row by row along the keys. Lookups among the members of a batch
/// use `in`, which hashes them, because hash joins are off.
const PLAN_SETTINGS: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// The connections of a store, and the way in which statements use them.
#[derive(Debug)]
pub(super) struct Statements {
    pool: ConnectionPool<Postgres>,
    /// The text that begins a transaction for each statement; `None` on own connections.
    begin: Option<Arc<str>>,
}

/// The result of a statement.
#[derive(Debug, Default)]
pub(super) struct StatementResult {
    pub(super) rows: Vec<PgRow>,
    pub(super) affected: u64,
}

impl StatementResult {
    /// Returns the first row of a statement that always returns one.
    pub(super) fn row(&self) -> Result<&PgRow, StoreError> {
        self.rows
            .first()
            .ok_or_else(|| StoreError::Data("a statement that must return a row returned none".to_owned()))
    }
}

impl Statements {
    /// Uses connections that belong to this store only. Settings are sent once per connection,
    /// and each statement is prepared once.
    pub(super) fn on_own_connections(options: &PgConnectOptions, pool: PoolOptions) -> Self {
        let timeout = ("statement_timeout", STATEMENT_TIMEOUT.as_millis().to_string());
        let options = options.clone().options(PLAN_SETTINGS).options([timeout]);
        Self { pool: ConnectionPool::new(options, pool), begin: None }
    }

    /// Uses connections to a pgbouncer, which assigns a server connection for the duration of a
    /// transaction.
    ///
    /// sqlx sends a statement in two messages, parse and execute, with a response between
    /// them. Without a transaction, the second message can reach a server connection on which
    /// another client has parsed a different statement, and run that. So each statement runs
    /// in a transaction, which also carries the settings.
    pub(super) fn through_pgbouncer(options: &PgConnectOptions, pool: PoolOptions) -> Self {
        let timeout = STATEMENT_TIMEOUT.as_millis().to_string();
        // A client that disappears within a transaction must not keep its locks.
        let timeouts = ["statement_timeout", "idle_in_transaction_session_timeout"];
        let settings = PLAN_SETTINGS.into_iter().chain(timeouts.map(|name| (name, timeout.as_str())));
        let settings = settings.map(|(name, value)| format!("; set local {name} = {value}"));
        let begin = format!("begin{}", settings.collect::<String>());
        Self { pool: ConnectionPool::new(options.clone(), pool), begin: Some(begin.into()) }
    }

    /// Runs a statement. `name` is its name in the log.
    pub(super) async fn run(
        &self,
        name: &'static str,
        statement: Query<'_, Postgres, PgArguments>,
    ) -> Result<StatementResult, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let outcome = with_timeout(async {
            match &self.begin {
                None => execute(&mut connection, statement).await,
                Some(begin) => in_transaction(&mut connection, begin, statement).await,
            }
        });
        let outcome = outcome.await;
        self.pool.release(connection, name, outcome)
    }

    pub(super) fn pool_use(&self) -> PoolUse {
        self.pool.pool_use()
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

async fn in_transaction(
    connection: &mut PgConnection,
    begin: &Arc<str>,
    statement: Query<'_, Postgres, PgArguments>,
) -> Result<StatementResult, sqlx::Error> {
    connection.execute(AssertSqlSafe(Arc::clone(begin))).await?;
    let result = execute(connection, statement.persistent(false)).await;
    connection.execute(if result.is_ok() { "commit" } else { "rollback" }).await?;
    result
}

async fn execute(
    connection: &mut PgConnection,
    statement: Query<'_, Postgres, PgArguments>,
) -> Result<StatementResult, sqlx::Error> {
    let mut result = StatementResult::default();
    let mut stream = connection.fetch_many(statement);
    while let Some(item) = stream.try_next().await? {
        match item {
            Either::Left(done) => result.affected += done.rows_affected(),
            Either::Right(row) => result.rows.push(row),
        }
    }
    Ok(result)
}
