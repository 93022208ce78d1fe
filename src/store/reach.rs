//! Connecting to a database that is inspected, and the reason if that fails.

use tokio::time::timeout;

use super::{
    Cause, OpenError,
    connection::{CONNECT_TIMEOUT, RESPONSE_TIMEOUT, with_timeout},
    error::with_advice,
};

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
        let cause = Cause::from(&error);
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
        match error {
            OpenError::Unreachable { cause, text } => Self { cause, text },
            OpenError::Url(text) | OpenError::Incompatible(text) => Self { cause: Cause::Other, text },
        }
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
