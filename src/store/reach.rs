//! Connecting to a database that is inspected, and the reason if that fails.

use sqlx::error::DatabaseError;
use tokio::time::timeout;

use super::{
    OpenError,
    connection::{CONNECT_TIMEOUT, RESPONSE_TIMEOUT, with_timeout},
    error::with_advice,
};

/// The reason why a database can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The host name has no address.
    UnknownHost,
    /// No server listens at the address.
    Refused,
    /// The server does not respond in time.
    NoResponse,
    /// The TLS handshake failed.
    Tls,
    /// The server refuses the user.
    Authentication,
    /// The database does not exist.
    NoDatabase,
    /// Another reason.
    Other,
}

/// A database that can't be reached, or that stopped responding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Unreached {
    /// The reason.
    pub cause: Cause,
    /// The message of the operating system or the database.
    pub text: String,
}

impl From<sqlx::Error> for Unreached {
    fn from(error: sqlx::Error) -> Self {
        let cause = match &error {
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Cause::Refused,
            // The standard library has no kind for this error.
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
        Self { cause, text: with_advice(text) }
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

/// Maps the SQLSTATE with which PostgreSQL refuses a connection.
fn refusal(error: &dyn DatabaseError) -> Cause {
    match error.code().as_deref() {
        // A wrong password, no entry in pg_hba.conf, no right to connect.
        Some("28P01" | "28000" | "42501") => Cause::Authentication,
        Some("3D000") => Cause::NoDatabase,
        _ => Cause::Other,
    }
}

/// Connects within the timeout that the service uses at its start.
pub(super) async fn connect<C>(
    connect: impl Future<Output = Result<C, sqlx::Error>>,
) -> Result<C, Unreached> {
    match timeout(CONNECT_TIMEOUT, connect).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(Unreached {
            cause: Cause::NoResponse,
            text: format!("no response within {CONNECT_TIMEOUT:?}"),
        }),
    }
}

/// Runs a statement within the timeout that the service uses.
pub(super) async fn query<T, E: Into<Unreached>>(
    statement: impl Future<Output = Result<T, E>>,
) -> Result<T, Unreached> {
    match with_timeout(statement).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Unreached {
            cause: Cause::NoResponse,
            text: format!("no response to a statement within {RESPONSE_TIMEOUT:?}"),
        }),
    }
}
