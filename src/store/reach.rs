//! A database that is looked at and not changed, for `presenced doctor`.

use sqlx::error::DatabaseError;
use tokio::time::timeout;

use super::{
    OpenError, PostgresInspector, SqliteInspector,
    connection::{CONNECT_TIMEOUT, limit},
    database::Kind,
};

/// What looks at the database that a URL names.
#[derive(Debug)]
pub enum Inspector {
    /// At a PostgreSQL.
    Postgres(PostgresInspector),
    /// At an SQLite file, or at one that would be made, or at none.
    Sqlite(SqliteInspector),
}

impl Inspector {
    /// Looks at nothing yet; the error is about the URL.
    pub fn new(url: &str) -> Result<Self, OpenError> {
        Ok(match Kind::of(url)? {
            Kind::Postgres => Self::Postgres(PostgresInspector::new(url)?),
            Kind::Sqlite => Self::Sqlite(SqliteInspector::new(url)?),
        })
    }
}

/// Why a database can't be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its host has no address.
    UnknownHost,
    /// Nobody listens there.
    Refused,
    /// Nothing is heard of it in time.
    NoAnswer,
    /// There is no TLS, or not the right one.
    Tls,
    /// It does not let the user in.
    Authentication,
    /// There is no such database.
    NoDatabase,
    /// Something else.
    Other,
}

/// A database that can't be reached, or has stopped to answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Unreached {
    /// Why.
    pub cause: Cause,
    /// The same in the system's or the database's words.
    pub text: String,
}

impl From<sqlx::Error> for Unreached {
    fn from(error: sqlx::Error) -> Self {
        let cause = match &error {
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Cause::Refused,
            // The standard library has no kind for it.
            sqlx::Error::Io(error) if error.to_string().contains("failed to lookup address") => {
                Cause::UnknownHost
            }
            sqlx::Error::Tls(_) => Cause::Tls,
            sqlx::Error::Database(error) => refusal(&**error),
            _ => Cause::Other,
        };
        let text = match &error {
            sqlx::Error::Database(error) => error.message().to_owned(),
            sqlx::Error::Io(error) => error.to_string(),
            sqlx::Error::Tls(error) => error.to_string(),
            error => error.to_string(),
        };
        Self { cause, text }
    }
}

impl From<OpenError> for Unreached {
    fn from(error: OpenError) -> Self {
        let text = match error {
            OpenError::Url(text) | OpenError::Unreachable(text) | OpenError::Incompatible(text) => text,
        };
        Self { cause: Cause::Other, text }
    }
}

/// Sorts the SQLSTATE with which PostgreSQL refuses a connection.
fn refusal(error: &dyn DatabaseError) -> Cause {
    match error.code().as_deref() {
        // A wrong password, no entry in pg_hba.conf, and no right to connect.
        Some("28P01" | "28000" | "42501") => Cause::Authentication,
        Some("3D000") => Cause::NoDatabase,
        _ => Cause::Other,
    }
}

/// A connection, in as much time as the service gives it at its start.
pub(super) async fn connect<C>(
    connect: impl Future<Output = Result<C, sqlx::Error>>,
) -> Result<C, Unreached> {
    match timeout(CONNECT_TIMEOUT, connect).await {
        Ok(connected) => Ok(connected?),
        Err(_) => {
            Err(Unreached { cause: Cause::NoAnswer, text: format!("no answer within {CONNECT_TIMEOUT:?}") })
        }
    }
}

/// An answer, in as much time as the service gives a statement.
pub(super) async fn answer<T, E: Into<Unreached>>(
    statement: impl Future<Output = Result<T, E>>,
) -> Result<T, Unreached> {
    match limit(statement).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(Unreached {
            cause: Cause::NoAnswer,
            text: "it does not answer a statement in time".to_owned(),
        }),
    }
}
