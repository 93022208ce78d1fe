//! Inspection of an SQLite file, for `presenced doctor`.

use std::path::Path;

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{history, options, subscriptions::FAILING_SUBSCRIPTIONS};
use crate::{
    presence::Timestamp,
    store::{
        FailingSubscription, HistoryStats, InspectedHistory, OpenError, Schema,
        reach::{Unreached, connect, query},
        schema,
    },
};

/// Inspects an SQLite file.
#[derive(Debug)]
pub struct SqliteInspector {
    options: SqliteConnectOptions,
    /// Whether the URL has `mode=ro`.
    read_only: bool,
}

/// The properties of an SQLite file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteFile {
    /// The version of SQLite.
    pub version: String,
    /// The journal mode: `wal` once the service has used the file.
    pub journal: String,
    /// The file's schema compared with this binary's.
    pub schema: Schema,
    /// The reason why existing tables can't be written, if they can't.
    pub read_only: Option<String>,
}

impl SqliteInspector {
    pub(in crate::store) fn new(url: &str) -> Result<Self, OpenError> {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let read_only = query.split('&').any(|parameter| parameter == "mode=ro");
        // A read-only connection would leave files behind.
        Ok(Self { options: options::parse_existing(url)?.read_only(false), read_only })
    }

    /// Describes the engine and the file.
    #[must_use]
    pub fn describe(&self) -> String {
        options::describe(&self.options)
    }

    /// Returns the file of the database, or `None` for a database in memory.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        options::file(&self.options)
    }

    /// Reads the properties of the file, which must exist. It changes nothing.
    pub async fn inspect(&self) -> Result<SqliteFile, Unreached> {
        let mut connection = connect(SqliteConnection::connect_with(&self.options)).await?;
        let version = sqlx::query_scalar("select sqlite_version()").fetch_one(&mut connection);
        let version = query(version).await?;
        let journal = query(sqlx::query_scalar("pragma journal_mode").fetch_one(&mut connection)).await?;
        let schema = query(schema::read_sqlite(&mut connection)).await?;
        let read_only = match schema {
            _ if self.read_only => Some("the URL has mode=ro".to_owned()),
            Schema::Older { theirs: 0, .. } => None,
            _ => query(schema::check_writable(&mut connection)).await.err().map(|error| error.text),
        };
        // On failure the connection ends with the process.
        drop(query(connection.close()).await);
        Ok(SqliteFile { version, journal, schema, read_only })
    }

    /// Reads the size and the age of the history, and counts the spans that ended before a time, up to
    /// `max`.
    pub async fn history(&self, before: Timestamp, max: u32) -> Result<InspectedHistory, Unreached> {
        let mut connection = connect(SqliteConnection::connect_with(&self.options)).await?;
        let size = sqlx::query_scalar(history::HISTORY_SIZE.text).fetch_one(&mut connection);
        let bytes: i64 = query(size).await?;
        let oldest = sqlx::query_scalar(history::OLDEST_SPAN.text).fetch_one(&mut connection);
        let oldest: Option<i64> = query(oldest).await?;
        let old = sqlx::query_scalar(history::OLD_SPANS.text).bind(before.as_millis()).bind(i64::from(max));
        let old: i64 = query(old.fetch_one(&mut connection)).await?;
        drop(query(connection.close()).await);
        let stats =
            HistoryStats { bytes: bytes.unsigned_abs(), oldest_ended_at: oldest.map(Timestamp::from_millis) };
        Ok(InspectedHistory { stats, old_spans: old.unsigned_abs() })
    }

    /// Reads up to `max` subscriptions that have not ended at `now` and have failed since before a time, those
    /// first that have failed for longest.
    pub async fn failing_subscriptions(
        &self,
        now: Timestamp,
        before: Timestamp,
        max: u32,
    ) -> Result<Vec<FailingSubscription>, Unreached> {
        let mut connection = connect(SqliteConnection::connect_with(&self.options)).await?;
        let rows = sqlx::query_as(FAILING_SUBSCRIPTIONS.text)
            .bind(now.as_millis())
            .bind(before.as_millis())
            .bind(i64::from(max));
        let rows = query(rows.fetch_all(&mut connection)).await?;
        drop(query(connection.close()).await);
        Ok(rows.into_iter().map(FailingSubscription::read).collect())
    }
}
