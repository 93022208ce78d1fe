//! What `presenced doctor` asks a PostgreSQL.

use sqlx::{
    Connection, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgRow},
};

use super::timestamptz::Timestamptz;
use crate::{
    presence::Timestamp,
    store::{
        OpenError, Schema,
        inspect::{Unreached, answer, connect},
        schema,
    },
};

/// The settings are those that a connection of the service has: they may differ by
/// database and by user. Of the connections, some are kept for others.
const SERVER: &str = "
select current_setting('server_version'),
       current_setting('server_version_num')::int4,
       clock_timestamp(),
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
       greatest(s.last_vacuum, s.last_autovacuum)
from pg_class as c
left join pg_stat_all_tables as s on s.relid = c.oid
where c.oid in (to_regclass('presence_sessions')::oid, to_regclass('presence_users')::oid)
order by 1";

/// A row of [`TABLES`].
type TableRow = (String, Vec<String>, bool, i64, i64, Option<Timestamptz>);

/// Looks at a PostgreSQL.
#[derive(Debug)]
pub struct PostgresInspector {
    options: PgConnectOptions,
    /// Opened when something is asked.
    connection: Option<PgConnection>,
}

/// What a server is like for those who connect with the service's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "settings that are on or off")]
pub struct Server {
    /// As PostgreSQL says it.
    pub version: String,
    /// The major version.
    pub major: i32,
    /// Its clock.
    pub time: Timestamp,
    /// Whether it follows another server.
    pub is_standby: bool,
    /// Whether a transaction may not write unless it asks for it.
    pub is_read_only: bool,
    /// Whether what is committed reaches the disk.
    pub fsync: bool,
    /// For what a commit waits.
    pub synchronous_commit: String,
    /// Whether tables are vacuumed by themselves.
    pub autovacuum: bool,
    /// The connections that all users together may have.
    pub connections: u32,
    /// The schema in which tables are made.
    pub schema: String,
    /// Whether the user may make tables in it.
    pub may_create: bool,
}

/// One of our tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStats {
    /// Its name.
    pub name: String,
    /// Storage options, as `name=value`.
    pub options: Vec<String>,
    /// Whether the user may read and write it.
    pub may_write: bool,
    /// Rows, about.
    pub live: i64,
    /// Versions of rows that nobody needs any more, about.
    pub dead: i64,
    /// When it was last vacuumed.
    pub vacuumed: Option<Timestamp>,
}

impl PostgresInspector {
    /// Looks at nothing yet; the error is about the URL.
    pub fn new(url: &str) -> Result<Self, OpenError> {
        Ok(Self { options: super::options(url)?, connection: None })
    }

    /// One that is only reached, through a pgbouncer.
    pub fn through_pgbouncer(url: &str) -> Result<Self, OpenError> {
        Ok(Self { options: super::pooled(&super::options(url)?), connection: None })
    }

    /// What it is, and where, without its secrets.
    #[must_use]
    pub fn describe(&self) -> String {
        super::describe(&self.options, None)
    }

    /// The user as whom the service connects.
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

    /// Connects, so that the server's time is asked of an open connection.
    pub async fn reach(&mut self) -> Result<(), Unreached> {
        self.connection().await.map(drop)
    }

    /// What the server is like.
    pub async fn server(&mut self) -> Result<Server, Unreached> {
        let row = answer(sqlx::query(SERVER).fetch_one(self.connection().await?)).await?;
        Ok(read_server(&row)?)
    }

    /// How its schema stands to this binary's.
    pub async fn schema(&mut self) -> Result<Schema, Unreached> {
        answer(schema::read_postgres(self.connection().await?)).await
    }

    /// The tables that are there.
    pub async fn tables(&mut self) -> Result<Vec<TableStats>, Unreached> {
        let rows: Vec<TableRow> = answer(sqlx::query_as(TABLES).fetch_all(self.connection().await?)).await?;
        let table = |(name, options, may_write, live, dead, vacuumed): TableRow| TableStats {
            name,
            options,
            may_write,
            live,
            dead,
            vacuumed: vacuumed.map(|Timestamptz(time)| time),
        };
        Ok(rows.into_iter().map(table).collect())
    }
}

fn read_server(row: &PgRow) -> Result<Server, sqlx::Error> {
    Ok(Server {
        version: row.try_get(0)?,
        major: row.try_get::<i32, _>(1)? / 10_000,
        time: row.try_get::<Timestamptz, _>(2)?.0,
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
