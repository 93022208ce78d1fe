//! The errors of a store, in the few kinds that its callers distinguish.

use sqlx::error::DatabaseError;

/// A failed statement. The texts are for the log, never for a caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database refused the statement or did not respond in time. A write may or may
    /// not have been applied. Every write can be retried.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// Another transaction conflicted (SQLSTATE class 40: deadlock, serialization failure).
    /// Nothing was written, and a retry may succeed.
    #[error("store conflict: {0}")]
    Conflict(String),
    /// The database refused a value (SQLSTATE class 22 or 23), or returned a row that can't
    /// be decoded. Nothing was written, and a retry fails again.
    #[error("invalid data: {0}")]
    Data(String),
}

impl StoreError {
    /// Returns the kind as a word, for traces.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Conflict(_) => "conflict",
            Self::Data(_) => "data",
        }
    }
}

/// A database that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database URL is invalid.
    #[error("invalid database URL: {0}")]
    Url(String),
    /// The database is unreachable, or refuses the connection.
    #[error("cannot reach the database: {text}")]
    Unreachable {
        /// The reason.
        cause: Cause,
        /// The message of the operating system or the database.
        text: String,
    },
    /// This binary can't use the database's schema.
    #[error("incompatible database: {0}")]
    Incompatible(String),
}

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

impl From<&sqlx::Error> for Cause {
    fn from(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Self::Refused,
            // The standard library has no kind for this error.
            sqlx::Error::Io(error) if error.to_string().contains("failed to lookup address") => {
                Self::UnknownHost
            }
            sqlx::Error::Tls(_) => Self::Tls,
            sqlx::Error::Database(error) => refusal(&**error),
            _ => Self::Other,
        }
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

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let text = describe(&error);
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

/// Describes an error of the driver for the log and the operator.
///
/// Of an error of the database, these are its own words and its error code. The driver's text also
/// has a line number of the database's source code.
pub(super) fn describe(error: &sqlx::Error) -> String {
    if let sqlx::Error::Database(database) = error {
        let code = database.code().map(|code| format!(" (code {code})"));
        return format!("{}{}", database.message(), code.unwrap_or_default());
    }
    with_advice(error.to_string())
}

/// Adds to an error of TLS what to do about it.
pub(super) fn with_advice(text: String) -> String {
    if text.contains("UnsupportedCertVersion") { format!("{text}: {CERTIFICATE_ADVICE}") } else { text }
}

/// What to do about a certificate that rustls can't read. Citus makes one for itself. libpq accepts
/// it, because it verifies nothing with `sslmode=prefer` and `require`.
const CERTIFICATE_ADVICE: &str = "the database's certificate is of X.509 version 1; give the database one of version 3 \
                                  (ssl_cert_file), or on a trusted network give sslmode=disable in the URL";

enum Class {
    Data,
    Conflict,
    Other,
}

/// Classifies a database's error code. PostgreSQL reports an SQLSTATE of five characters.
/// SQLite reports an extended result code, whose low byte is the primary code.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_cannot_be_read_names_what_to_do() {
        let error = sqlx::Error::Tls("invalid peer certificate: UnsupportedCertVersion".into());
        let text = describe(&error);
        assert!(text.contains("X.509 version 1; give the database one of version 3"), "{text}");
        assert!(!describe(&sqlx::Error::PoolClosed).contains("X.509"));
    }
}
