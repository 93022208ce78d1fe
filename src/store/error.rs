//! The errors of a store, in the few kinds that matter to its callers.

use sqlx::error::DatabaseError;

/// Why a statement failed. The texts are for the log, never for a caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database did not do it, or did not say so in time: whether a write
    /// happened is unknown. Every write may be repeated.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// Another transaction was in the way (SQLSTATE class 40: deadlock,
    /// serialization); nothing was written. The same call may succeed now.
    #[error("conflict in the store: {0}")]
    Conflict(String),
    /// The database refused what it was given (SQLSTATE class 22 or 23), or
    /// holds what can't be read; nothing was written. The same call will fail
    /// again.
    #[error("bad data: {0}")]
    Data(String),
}

impl StoreError {
    /// The kind, as a word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Conflict(_) => "conflict",
            Self::Data(_) => "data",
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database URL is wrong.
    #[error("bad database URL: {0}")]
    Url(String),
    /// The database can't be reached, or refuses us.
    #[error("cannot reach the database: {0}")]
    Unreachable(String),
    /// The database's schema is not one that this binary can use.
    #[error("incompatible database: {0}")]
    Incompatible(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::Database(database) => match class(database.as_ref()) {
                Class::Data => Self::Data(text),
                Class::Conflict => Self::Conflict(text),
                Class::Other => Self::Unavailable(text),
            },
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => {
                Self::Data(text)
            }
            _ => Self::Unavailable(text),
        }
    }
}

enum Class {
    Data,
    Conflict,
    Other,
}

/// Sorts a database's own code: five characters are an SQLSTATE, a number is
/// one of SQLite's extended result codes, whose low byte is the primary one.
fn class(error: &dyn DatabaseError) -> Class {
    const SQLITE_TOOBIG: u32 = 18;
    const SQLITE_CONSTRAINT: u32 = 19;
    const SQLITE_MISMATCH: u32 = 20;

    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        return match code.parse::<u32>().map(|code| code & 0xff) {
            Ok(SQLITE_TOOBIG | SQLITE_CONSTRAINT | SQLITE_MISMATCH) => Class::Data,
            _ => Class::Other,
        };
    }
    match code.get(..2) {
        Some("22" | "23") => Class::Data,
        Some("40") => Class::Conflict,
        _ => Class::Other,
    }
}
