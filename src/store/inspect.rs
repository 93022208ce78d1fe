//! Read-only inspection of a database, for `presenced doctor`.

use super::{OpenError, PostgresInspector, SqliteInspector, kind::Kind};

/// Inspects the database that a URL names, without changing it.
#[derive(Debug)]
pub enum Inspector {
    /// Inspects a PostgreSQL server.
    Postgres(PostgresInspector),
    /// Inspects an SQLite file, a file that does not exist yet, or a database in memory.
    Sqlite(SqliteInspector),
}

impl Inspector {
    /// Parses the URL, without connecting. An error is about the URL.
    pub fn new(url: &str) -> Result<Self, OpenError> {
        Ok(match Kind::of(url)? {
            Kind::Postgres => Self::Postgres(PostgresInspector::new(url)?),
            Kind::Sqlite => Self::Sqlite(SqliteInspector::new(url)?),
        })
    }
}
