//! The connection settings in a URL.

use std::{path::Path, str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::store::OpenError;

/// The timeout of a statement's wait for a lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// The page size of a new file. A set changes 150 bytes and writes the whole page to the log.
/// SQLite's default of 4 KiB gives 10 % less throughput.
const PAGE_BYTES: u32 = 2 * 1_024;

/// Parses the URL, for a connection of the service. Connecting creates a missing file.
///
/// `synchronous = full` flushes each commit to disk. Less could lose an acknowledged write in
/// a power failure.
pub(in crate::store) fn parse(url: &str) -> Result<SqliteConnectOptions, OpenError> {
    Ok(parse_existing(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .page_size(PAGE_BYTES))
}

/// Parses the URL, for a connection that only inspects an existing file.
pub(super) fn parse_existing(url: &str) -> Result<SqliteConnectOptions, OpenError> {
    let options = SqliteConnectOptions::from_str(url).map_err(|error| OpenError::Url(error.to_string()))?;
    if options.get_filename().as_os_str().is_empty() {
        return Err(OpenError::Url(
            "the URL names no file; for a database in memory, use sqlite::memory:".to_owned(),
        ));
    }
    Ok(options.create_if_missing(false).busy_timeout(BUSY_TIMEOUT).disable_statement_logging())
}

/// Returns the file of the database, or `None` for a database in memory.
pub(super) fn file(options: &SqliteConnectOptions) -> Option<&Path> {
    // sqlx gives a database in memory a name of its own.
    Some(options.get_filename()).filter(|file| !file.to_string_lossy().starts_with("file:"))
}

/// Describes the engine and the file.
pub(in crate::store) fn describe(options: &SqliteConnectOptions) -> String {
    file(options)
        .map_or_else(|| "SQLite in memory".to_owned(), |file| format!("SQLite at {}", file.display()))
}
