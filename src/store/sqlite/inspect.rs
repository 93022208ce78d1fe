//! What `presenced doctor` asks an SQLite file.

use std::path::Path;

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::store::{
    OpenError, Schema,
    inspect::{Unreached, answer, connect},
    schema,
};

/// Looks at an SQLite file.
#[derive(Debug)]
pub struct SqliteInspector {
    options: SqliteConnectOptions,
    /// Whether the URL says so.
    read_only: bool,
}

/// What an SQLite file is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteFile {
    /// SQLite's own version.
    pub version: String,
    /// `wal` once the service has used it.
    pub journal: String,
    /// How its schema stands to this binary's.
    pub schema: Schema,
    /// Why its tables can't be written, if they are there and can't be.
    pub read_only: Option<String>,
}

impl SqliteInspector {
    pub(in crate::store) fn new(url: &str) -> Result<Self, OpenError> {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let read_only = query.split('&').any(|parameter| parameter == "mode=ro");
        // A connection that only reads would leave files behind.
        Ok(Self { options: super::plain_options(url)?.read_only(false), read_only })
    }

    /// What it is, and where.
    #[must_use]
    pub fn describe(&self) -> String {
        super::describe(&self.options)
    }

    /// The file; `None` if the database is in memory.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        super::file(&self.options)
    }

    /// Opens the file, which must be there. Nothing in it changes.
    pub async fn look(&self) -> Result<SqliteFile, Unreached> {
        let mut connection = connect(SqliteConnection::connect_with(&self.options)).await?;
        let version = sqlx::query_scalar("select sqlite_version()").fetch_one(&mut connection);
        let version = answer(version).await?;
        let journal = answer(sqlx::query_scalar("pragma journal_mode").fetch_one(&mut connection)).await?;
        let schema = answer(schema::read_sqlite(&mut connection)).await?;
        let read_only = match schema {
            _ if self.read_only => Some("the URL says mode=ro".to_owned()),
            Schema::Older { theirs: 0, .. } => None,
            _ => answer(schema::write_nothing(&mut connection)).await.err().map(|error| error.text),
        };
        // It ends with the process otherwise.
        drop(answer(connection.close()).await);
        Ok(SqliteFile { version, journal, schema, read_only })
    }
}
