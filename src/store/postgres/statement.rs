//! Running a statement: by itself on a connection of this store, or in a transaction through
//! a pgbouncer, whose server connections are shared.

use std::{sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, Either, Executor, PgConnection, Postgres, Row as _,
    postgres::{PgArguments, PgConnectOptions, PgRow},
    query::Query,
};
use uuid::Uuid;

use super::shards::Shards;
use crate::{
    clock::DatabaseClock,
    presence::Timestamp,
    store::{
        LATE_AFTER, PoolUse, StoreError,
        connection::{ConnectionPool, PoolOptions, STATEMENT_TIMEOUT, with_timeout},
        history::HistoryMode,
        room::Evictions,
        sql::{Sql, sql},
    },
};

const NOTIFY: Sql = sql!("notify");
const MOVE_HISTORY_START: Sql = sql!("move_history_start");

/// Settings of own connections. PostgreSQL plans each statement once for a connection. It would
/// otherwise plan each read of a single user anew (300 custom plans for 300 reads), because a plan
/// for one user looks cheaper; planning takes longer than the read. Such a plan may be older than
/// the rows, so it must use the keys even if the table was empty. A plan that reads a whole table all the
/// same then looks so expensive that PostgreSQL would compile it (JIT), which takes 40 ms.
const PLAN_SETTINGS: [(&str, &str); 3] =
    [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("jit", "off")];

/// The age at which a write through a pgbouncer is late. It may wait there for a server connection,
/// so the statement itself has less time.
const LATE_AFTER_PGBOUNCER: Duration = Duration::from_secs(1);

/// Settings that end what a client leaves behind when it disappears: a transaction, with its
/// locks, and the connection itself.
const CLIENT_SETTINGS: [(&str, &str); 4] = [
    ("idle_in_transaction_session_timeout", "1000"),
    ("tcp_keepalives_idle", "1"),
    ("tcp_keepalives_interval", "1"),
    ("tcp_keepalives_count", "2"),
];

/// The connections of a store, and the way in which statements use them.
#[derive(Debug)]
pub(super) struct Statements {
    pool: ConnectionPool<Postgres>,
    /// The text that begins a transaction for each statement; `None` on own connections.
    begin: Option<Arc<str>>,
    /// Whether the transaction of each statement is rolled back.
    rolls_back: bool,
    shared: Shared,
    /// The age at which a write is late.
    late_after: Duration,
}

/// The state that the stores of a database share.
#[derive(Clone, Debug)]
pub(in crate::store) struct Shared {
    /// The clock that follows the database's.
    pub(in crate::store) clock: DatabaseClock,
    /// The shards, if Citus distributes the tables.
    pub(in crate::store) shards: Option<Arc<Shards>>,
    pub(in crate::store) history: Arc<HistoryMode>,
    pub(in crate::store) evictions: Arc<Evictions>,
}

/// The result of a statement.
#[derive(Debug, Default)]
pub(super) struct StatementResult {
    pub(super) rows: Vec<PgRow>,
    pub(super) affected: u64,
}

impl Statements {
    /// Uses connections that belong to this store only. Settings are sent once per connection,
    /// and each statement is prepared once.
    pub(super) fn on_own_connections(options: &PgConnectOptions, pool: PoolOptions, shared: Shared) -> Self {
        let timeout = ("statement_timeout", STATEMENT_TIMEOUT.as_millis().to_string());
        let options = options.clone().options(CLIENT_SETTINGS).options([timeout]);
        // Citus plans by the values of the parameters.
        let options = if shared.shards.is_none() { options.options(PLAN_SETTINGS) } else { options };
        Self {
            pool: ConnectionPool::new(options, pool),
            begin: None,
            rolls_back: false,
            shared,
            late_after: LATE_AFTER,
        }
    }

    /// Uses connections to a pgbouncer, which assigns a server connection for the duration of a
    /// transaction.
    ///
    /// sqlx sends a statement in two messages, parse and execute, with a response between
    /// them. Without a transaction, the second message can reach a server connection on which
    /// another client has parsed a different statement, and run that. So each statement runs
    /// in a transaction, which also carries the timeouts.
    pub(super) fn through_pgbouncer(options: &PgConnectOptions, pool: PoolOptions, shared: Shared) -> Self {
        let timeout =
            STATEMENT_TIMEOUT.saturating_sub(LATE_AFTER_PGBOUNCER.saturating_sub(LATE_AFTER)).as_millis();
        // A client that disappears within a transaction must not keep its locks.
        let settings = ["statement_timeout", "idle_in_transaction_session_timeout"];
        let settings = settings.map(|name| format!("; set local {name} = {timeout}"));
        let begin = format!("begin{}", settings.concat());
        let pool = ConnectionPool::new(options.clone(), pool);
        Self { pool, begin: Some(begin.into()), rolls_back: false, shared, late_after: LATE_AFTER_PGBOUNCER }
    }

    /// Like [`Self::on_own_connections`], but changes nothing: the transaction of each statement is
    /// rolled back.
    pub(super) fn rolled_back(
        options: &PgConnectOptions,
        pool: PoolOptions,
        shards: Option<Arc<Shards>>,
    ) -> Self {
        let (clock, history) = (DatabaseClock::new(), Arc::new(HistoryMode::new(true)));
        let shared = Shared { clock, shards, history, evictions: Arc::new(Evictions::new()) };
        let own = Self::on_own_connections(options, pool, shared);
        Self { begin: Some("begin".into()), rolls_back: true, ..own }
    }

    /// Begins a statement. Its parameters are bound to the result.
    pub(super) fn query<'q>(&self, sql: &'static Sql) -> Query<'q, Postgres, PgArguments> {
        if self.is_distributed() {
            sqlx::query(AssertSqlSafe(sql.without_notify()))
        } else {
            sqlx::query(sql.text)
        }
    }

    /// Runs a statement.
    pub(super) async fn run(
        &self,
        sql: &'static Sql,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<StatementResult, StoreError> {
        self.run_notifying(sql, query, false).await
    }

    /// Runs a statement. On Citus, it then notifies the replicas if `notifies`.
    pub(super) async fn run_notifying(
        &self,
        sql: &'static Sql,
        query: Query<'_, Postgres, PgArguments>,
        notifies: bool,
    ) -> Result<StatementResult, StoreError> {
        let notifies = notifies && self.is_distributed();
        let mut connection = self.pool.acquire().await?;
        let outcome = with_timeout(async {
            match &self.begin {
                None if notifies => self.in_transaction(&mut connection, &"begin".into(), query, true).await,
                None => execute(&mut connection, query).await,
                Some(begin) => self.in_transaction(&mut connection, begin, query, notifies).await,
            }
        });
        let outcome = outcome.await;
        self.pool.release(connection, sql.name, outcome)
    }

    /// Whether Citus distributes the tables.
    pub(super) const fn is_distributed(&self) -> bool {
        self.shared.shards.is_some()
    }

    /// The shards, if Citus distributes the tables.
    pub(super) fn shards(&self) -> Option<&Shards> {
        self.shared.shards.as_deref()
    }

    /// Runs a write that returns a row for each key, or none if it was late. Its last two parameters
    /// are whether history is kept, and the time after which it is late. Its column 3 is whether it
    /// appended a span.
    pub(super) async fn write(
        &self,
        now: Timestamp,
        sql: &'static Sql,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, StoreError> {
        self.prepare_write(now).await?;
        let late_at = self.shared.clock.now() + self.late_after;
        let query = query.bind(self.history().keeps()).bind(late_at.as_millis());
        let rows = self.run_notifying(sql, query, true).await?.rows;
        if rows.is_empty() {
            return Err(self.late(sql));
        }
        self.count_appended(&rows, 3)?;
        Ok(rows)
    }

    /// The error of a late write.
    pub(super) fn late(&self, sql: &Sql) -> StoreError {
        self.shared.clock.doubt();
        StoreError::Unavailable(format!(
            "{} reached the database more than {:?} after it began",
            sql.name, self.late_after
        ))
    }

    /// Counts the spans that a statement appended, by a column of its rows.
    pub(super) fn count_appended(&self, rows: &[PgRow], index: usize) -> Result<(), StoreError> {
        let mut appended = 0;
        for row in rows {
            appended += u64::from(column::<bool>(row, index)?);
        }
        self.history().count(appended);
        Ok(())
    }

    /// Prepares a write at `now`. Without history it moves the start of the complete history.
    pub(super) async fn prepare_write(&self, now: Timestamp) -> Result<(), StoreError> {
        match self.history().start_before(now) {
            Some(start) => self.move_history_start(now, start).await,
            None => Ok(()),
        }
    }

    /// Moves the start of the complete history forward.
    pub(super) async fn move_history_start(
        &self,
        now: Timestamp,
        start: Timestamp,
    ) -> Result<(), StoreError> {
        let query = self.query(&MOVE_HISTORY_START).bind(now.as_millis()).bind(start.as_millis());
        self.run(&MOVE_HISTORY_START, query).await?;
        self.history().stored(start);
        Ok(())
    }

    /// The state of the history of this process.
    pub(super) fn history(&self) -> &HistoryMode {
        &self.shared.history
    }

    /// The evictions of this process.
    pub(super) fn evictions(&self) -> &Evictions {
        &self.shared.evictions
    }

    async fn in_transaction(
        &self,
        connection: &mut PgConnection,
        begin: &Arc<str>,
        query: Query<'_, Postgres, PgArguments>,
        notifies: bool,
    ) -> Result<StatementResult, sqlx::Error> {
        connection.execute(AssertSqlSafe(Arc::clone(begin))).await?;
        let result = self.execute_notifying(connection, query, notifies).await;
        let commits = result.is_ok() && !self.rolls_back;
        connection.execute(if commits { "commit" } else { "rollback" }).await?;
        result
    }

    /// Runs a statement within a transaction, and then notifies the replicas if `notifies`.
    async fn execute_notifying(
        &self,
        connection: &mut PgConnection,
        query: Query<'_, Postgres, PgArguments>,
        notifies: bool,
    ) -> Result<StatementResult, sqlx::Error> {
        let written = execute(connection, query.persistent(self.keeps_statements())).await?;
        let changed = if notifies { changed_users(&written.rows)? } else { Vec::new() };
        if !changed.is_empty() {
            let notify = sqlx::query(NOTIFY.text).bind(changed).persistent(self.keeps_statements());
            execute(connection, notify).await?;
        }
        Ok(written)
    }

    /// Whether a prepared statement stays on its connection, as it does without a pgbouncer.
    const fn keeps_statements(&self) -> bool {
        self.begin.is_none()
    }

    /// The clock that follows the database's.
    pub(super) const fn clock(&self) -> &DatabaseClock {
        &self.shared.clock
    }

    pub(super) fn pool_use(&self) -> PoolUse {
        self.pool.pool_use()
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

async fn execute(
    connection: &mut PgConnection,
    query: Query<'_, Postgres, PgArguments>,
) -> Result<StatementResult, sqlx::Error> {
    let mut result = StatementResult::default();
    let mut stream = connection.fetch_many(query);
    while let Some(item) = stream.try_next().await? {
        match item {
            Either::Left(done) => result.affected += done.rows_affected(),
            Either::Right(row) => result.rows.push(row),
        }
    }
    Ok(result)
}

/// Returns the users of a write's rows that watchers must read again, in the form of a payload.
fn changed_users(rows: &[PgRow]) -> Result<Vec<String>, sqlx::Error> {
    let mut users = Vec::new();
    for row in rows {
        if row.try_get(2)? {
            users.push(format!("{} {}", row.try_get::<Uuid, _>(0)?, row.try_get::<&str, _>(1)?));
        }
    }
    Ok(users)
}

/// Decodes columns without a check of their types, which the statement determines. The check
/// of each value would cost as much as its decoding.
pub(super) fn column<'r, T>(row: &'r PgRow, index: usize) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>,
{
    Ok(row.try_get_unchecked(index)?)
}
