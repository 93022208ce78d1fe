//! Inspection of a PostgreSQL server, for `presenced doctor`.

use std::sync::Arc;

use sqlx::{
    Connection, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgRow},
};

use super::{
    FailedStatement, Shards, check_statements, history, options, subscriptions::FAILING_SUBSCRIPTIONS,
};
use crate::{
    presence::Timestamp,
    store::{
        FailingSubscription, HistoryStats, InspectedHistory, OpenError, Schema, StoreError,
        reach::{Unreached, connect, query},
        schema,
    },
};

/// Returns the settings of a connection like the service's, because settings can differ by
/// database and user. Some connections are reserved for other users.
const SERVER: &str = "
select current_setting('server_version'),
       current_setting('server_version_num')::int4,
       (extract(epoch from clock_timestamp()) * 1000)::bigint,
       pg_is_in_recovery(),
       current_setting('transaction_read_only') = 'on',
       current_setting('fsync') = 'on',
       current_setting('synchronous_commit'),
       current_setting('autovacuum') = 'on',
       current_setting('max_connections')::int4
           - current_setting('superuser_reserved_connections')::int4
           - coalesce(current_setting('reserved_connections', true)::int4, 0),
       coalesce(current_schema()::text, ''),
       coalesce(has_schema_privilege(current_schema()::text, 'create'), false)";

const TABLES: &str = "
select c.relname::text,
       coalesce(c.reloptions, '{}'),
       has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
           and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete'),
       coalesce(s.n_live_tup, 0),
       coalesce(s.n_dead_tup, 0),
       (extract(epoch from greatest(s.last_vacuum, s.last_autovacuum)) * 1000)::bigint
from pg_class as c
left join pg_stat_all_tables as s on s.relid = c.oid
where c.oid in (
    to_regclass('presence_sessions')::oid, to_regclass('presence_users')::oid,
    to_regclass('presence_history')::oid, to_regclass('presence_subscriptions')::oid
)
order by 1";

/// A row of [`TABLES`].
type TableRow = (String, Vec<String>, bool, i64, i64, Option<i64>);

/// Inspects a PostgreSQL server.
#[derive(Debug)]
pub struct PostgresInspector {
    options: PgConnectOptions,
    /// Opened by the first query.
    connection: Option<PgConnection>,
}

/// The properties of a server for a connection with the service's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "settings that are on or off")]
pub struct Server {
    /// The version as PostgreSQL writes it.
    pub version: String,
    /// The major version.
    pub major: i32,
    /// The time of the server's clock.
    pub time: Timestamp,
    /// Whether the server is a standby.
    pub is_standby: bool,
    /// Whether transactions are read-only by default.
    pub is_read_only: bool,
    /// Whether commits are flushed to disk.
    pub fsync: bool,
    /// The event that a commit waits for.
    pub synchronous_commit: String,
    /// Whether tables are vacuumed automatically.
    pub autovacuum: bool,
    /// The maximum number of connections of all users together.
    pub connections: u32,
    /// The schema in which tables are created.
    pub schema: String,
    /// Whether the user may create tables in the schema.
    pub may_create: bool,
}

/// A table of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStats {
    /// The table's name.
    pub name: String,
    /// The storage options, as `name=value`.
    pub options: Vec<String>,
    /// Whether the user may read and write the table.
    pub may_write: bool,
    /// The estimated number of rows.
    pub live: i64,
    /// The estimated number of dead row versions.
    pub dead: i64,
    /// The time of the last vacuum.
    pub vacuumed: Option<Timestamp>,
}

impl PostgresInspector {
    /// Parses the URL, without connecting. An error is about the URL.
    pub fn new(url: &str) -> Result<Self, OpenError> {
        Ok(Self { options: options::parse(url)?, connection: None })
    }

    /// Parses the URL of a pgbouncer. Only [`Self::reach`] may be called.
    pub fn through_pgbouncer(url: &str) -> Result<Self, OpenError> {
        Ok(Self { options: options::for_pgbouncer(&options::parse(url)?), connection: None })
    }

    /// Describes the engine and the address, without secrets.
    #[must_use]
    pub fn describe(&self) -> String {
        options::describe(&self.options, None)
    }

    /// Returns the database user of the service.
    #[must_use]
    pub fn user(&self) -> &str {
        self.options.get_username()
    }

    async fn connection(&mut self) -> Result<&mut PgConnection, Unreached> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(PgConnection::connect_with(&self.options)).await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Connects, so that [`Self::server`] then reads the clock without the delay of connecting.
    pub async fn reach(&mut self) -> Result<(), Unreached> {
        self.connection().await.map(drop)
    }

    /// Reads the properties of the server.
    pub async fn server(&mut self) -> Result<Server, Unreached> {
        let row = query(sqlx::query(SERVER).fetch_one(self.connection().await?)).await?;
        Ok(read_server(&row)?)
    }

    /// Compares the server's schema with this binary's.
    pub async fn schema(&mut self) -> Result<Schema, Unreached> {
        query(schema::read_postgres(self.connection().await?)).await
    }

    /// Runs every statement of the service in transactions that are rolled back. Returns the first
    /// one that fails.
    pub async fn check_statements(&mut self) -> Result<(), FailedStatement> {
        let unread = |error: StoreError| FailedStatement { name: "pg_dist_shard", error };
        let connection =
            self.connection().await.map_err(|error| unread(StoreError::Unavailable(error.text)))?;
        let shards = Shards::read(connection).await.map_err(|error| unread(error.into()))?;
        check_statements(&self.options, shards.map(Arc::new)).await
    }

    /// Reads the statistics of the tables that exist.
    pub async fn tables(&mut self) -> Result<Vec<TableStats>, Unreached> {
        let rows: Vec<TableRow> = query(sqlx::query_as(TABLES).fetch_all(self.connection().await?)).await?;
        let table = |(name, options, may_write, live, dead, vacuumed): TableRow| TableStats {
            name,
            options,
            may_write,
            live,
            dead,
            vacuumed: vacuumed.map(Timestamp::from_millis),
        };
        Ok(rows.into_iter().map(table).collect())
    }

    /// Reads the size and the age of the history, and counts the spans that ended before a time, up to
    /// `max`.
    pub async fn history(&mut self, before: Timestamp, max: u32) -> Result<InspectedHistory, Unreached> {
        let connection = self.connection().await?;
        let is_distributed = query(Shards::read(connection)).await?.is_some();
        let size = sqlx::query_scalar(history::size(is_distributed).text).fetch_one(&mut *connection);
        let bytes: i64 = query(size).await?;
        let oldest = sqlx::query_scalar(history::OLDEST_SPAN.text).fetch_one(&mut *connection);
        let oldest: Option<i64> = query(oldest).await?;
        let old = sqlx::query_scalar(history::OLD_SPANS.text).bind(before.as_millis()).bind(i64::from(max));
        let old: i64 = query(old.fetch_one(&mut *connection)).await?;
        let stats =
            HistoryStats { bytes: bytes.unsigned_abs(), oldest_ended_at: oldest.map(Timestamp::from_millis) };
        Ok(InspectedHistory { stats, old_spans: old.unsigned_abs() })
    }

    /// Reads up to `max` subscriptions that have not ended at `now` and have failed since before a time, those
    /// first that have failed for longest.
    pub async fn failing_subscriptions(
        &mut self,
        now: Timestamp,
        before: Timestamp,
        max: u32,
    ) -> Result<Vec<FailingSubscription>, Unreached> {
        let rows = sqlx::query_as(FAILING_SUBSCRIPTIONS.text)
            .bind(now.as_millis())
            .bind(before.as_millis())
            .bind(i64::from(max));
        let rows = query(rows.fetch_all(self.connection().await?)).await?;
        Ok(rows.into_iter().map(FailingSubscription::read).collect())
    }
}

fn read_server(row: &PgRow) -> Result<Server, sqlx::Error> {
    Ok(Server {
        version: row.try_get(0)?,
        major: row.try_get::<i32, _>(1)? / 10_000,
        time: Timestamp::from_millis(row.try_get(2)?),
        is_standby: row.try_get(3)?,
        is_read_only: row.try_get(4)?,
        fsync: row.try_get(5)?,
        synchronous_commit: row.try_get(6)?,
        autovacuum: row.try_get(7)?,
        connections: row.try_get(8).map(|number: i32| u32::try_from(number).unwrap_or(0))?,
        schema: row.try_get(9)?,
        may_create: row.try_get(10)?,
    })
}
