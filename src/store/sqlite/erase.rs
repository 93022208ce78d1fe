//! Erasing and exporting users.

use std::{io, path::Path, time::Duration};

use serde_json::{Map, Value};
use sqlx::{
    Column, Connection, Executor, Row as _, Sqlite, TypeInfo, ValueRef,
    sqlite::{SqliteConnection, SqliteRow},
};
use tokio::time::sleep;
use tracing::warn;

use super::cleanup::rows;
use crate::{
    presence::UserId,
    store::{
        LAST_USER_ID, StoreError, UserKey,
        connection::{ConnectionPool, with_timeout},
        invalidation::Notifier,
        rows::{Row, stored_user_id},
        sql::{Sql, sql},
    },
};

const ERASE_HISTORY: Sql = sql!("erase_history");
/// The statements that remove the rows of a user, one for each table.
const ERASE: [Sql; 4] =
    [ERASE_HISTORY, sql!("erase_sessions"), sql!("erase_users"), sql!("erase_subscriptions")];
const END_OF_CHUNK: Sql = sql!("end_of_chunk");
/// The statements that remove the name of an author, one for each table.
const ERASE_AUTHOR: [Sql; 3] =
    [sql!("erase_author_of_sessions"), sql!("erase_author_of_users"), sql!("erase_author_of_history")];
/// The tables with rows of users, and the statements that return these.
const EXPORT: [(&str, Sql); 4] = [
    ("presence_sessions", sql!("export_sessions")),
    ("presence_users", sql!("export_users")),
    ("presence_history", sql!("export_history")),
    ("presence_subscriptions", sql!("export_subscriptions")),
];

/// Copies the write-ahead log to the file and empties it. A reader can delay that.
const EMPTY_LOG: &str = "pragma wal_checkpoint(truncate)";
/// Rewrites the file. When SQLite moves rows between pages, it can leave a copy, which `secure_delete`
/// does not reach.
const VACUUM: &str = "vacuum";
/// The maximum size of a file that is searched and rewritten, which takes about a second.
const REWRITTEN_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// The attempts to empty the log, and the pause between them.
const EMPTY_LOG_ATTEMPTS: usize = 20;
const EMPTY_LOG_PAUSE: Duration = Duration::from_millis(50);

/// [`crate::store::Store::erase_author`].
pub(super) async fn erase_author(
    writer: &ConnectionPool<Sqlite>,
    user: &UserKey,
    after: Option<&UserId>,
    limit: u32,
) -> Result<Option<UserId>, StoreError> {
    let (tenant_id, after) = (user.tenant_id.to_string(), after.map_or("", UserId::as_str));
    let query = sqlx::query(END_OF_CHUNK.text).bind(&tenant_id).bind(after).bind(i64::from(limit));
    let ends = rows(writer, &END_OF_CHUNK, query).await?;
    let end = ends.first().map(|row| row.text(0)).transpose()?.flatten();
    for sql in &ERASE_AUTHOR {
        let query = sqlx::query(sql.text)
            .bind(&tenant_id)
            .bind(user.user_id.as_str())
            .bind(after)
            .bind(end.unwrap_or(LAST_USER_ID));
        rows(writer, sql, query).await?;
    }
    end.map(stored_user_id).transpose()
}

/// [`crate::store::Store::erase_user`].
pub(super) async fn erase_user(
    writer: &ConnectionPool<Sqlite>,
    notifier: &Notifier,
    file: &Path,
    user: &UserKey,
) -> Result<u64, StoreError> {
    let mut connection = writer.acquire().await?;
    let outcome = with_timeout(erase(&mut connection, user)).await;
    let removed = writer.release(connection, "erase_user", outcome);
    notifier.notify(|| vec![user.clone()]);
    let removed = removed?;
    // The rows are removed, whatever follows.
    if let Err(error) = remove_remains(writer, file, &user.user_id).await {
        warn!(%error, "the database file can have remains of an erased user");
    }
    Ok(removed)
}

/// Removes what the statements left in the files.
async fn remove_remains(
    writer: &ConnectionPool<Sqlite>,
    file: &Path,
    user_id: &UserId,
) -> Result<(), StoreError> {
    empty_log(writer).await?;
    if has_remains(file, user_id).await {
        let mut connection = writer.acquire().await?;
        let outcome = with_timeout(connection.execute(VACUUM)).await;
        writer.release(connection, "vacuum", outcome)?;
        empty_log(writer).await?;
    }
    Ok(())
}

async fn empty_log(writer: &ConnectionPool<Sqlite>) -> Result<(), StoreError> {
    for _ in 0..EMPTY_LOG_ATTEMPTS {
        let mut connection = writer.acquire().await?;
        let outcome = with_timeout(sqlx::query_scalar(EMPTY_LOG).fetch_one(&mut *connection)).await;
        let is_busy: i64 = writer.release(connection, "empty_log", outcome)?;
        if is_busy == 0 {
            return Ok(());
        }
        sleep(EMPTY_LOG_PAUSE).await;
    }
    warn!("the write-ahead log still has rows of an erased user, until a later checkpoint");
    Ok(())
}

/// Whether the file contains the id: in a copy that SQLite left, or because it is part of another
/// text. A database in memory has no file.
async fn has_remains(file: &Path, user_id: &UserId) -> bool {
    let Ok(metadata) = tokio::fs::metadata(file).await else { return false };
    if metadata.len() > REWRITTEN_MAX_BYTES {
        warn!("the database file can have remains of an erased user, until you run `vacuum` in sqlite3");
        return false;
    }
    let (file, id) = (file.to_owned(), user_id.to_string());
    let search = move || {
        let bytes = std::fs::read(file)?;
        Ok(bytes.windows(id.len()).any(|window| window == id.as_bytes()))
    };
    let found: Result<io::Result<bool>, _> = tokio::task::spawn_blocking(search).await;
    match found {
        Ok(Ok(found)) => found,
        Ok(Err(_)) | Err(_) => true,
    }
}

async fn erase(connection: &mut SqliteConnection, user: &UserKey) -> Result<u64, sqlx::Error> {
    let mut transaction = connection.begin_with("begin immediate").await?;
    let mut removed = 0;
    let query =
        |sql: &Sql| sqlx::query(sql.text).bind(user.tenant_id.to_string()).bind(user.user_id.as_str());
    for sql in &ERASE {
        removed += transaction.execute(query(sql)).await?.rows_affected();
    }
    // The triggers have appended the spans of what was removed.
    transaction.execute(query(&ERASE_HISTORY)).await?;
    transaction.commit().await?;
    Ok(removed)
}

/// [`crate::store::Store::export_user`].
pub(super) async fn export_user(
    readers: &ConnectionPool<Sqlite>,
    user: &UserKey,
) -> Result<Vec<String>, StoreError> {
    let mut lines = Vec::new();
    for (table, sql) in &EXPORT {
        let query = sqlx::query(sql.text).bind(user.tenant_id.to_string()).bind(user.user_id.as_str());
        for row in rows(readers, sql, query).await? {
            lines.push(line(table, &row)?);
        }
    }
    Ok(lines)
}

fn line(table: &str, row: &SqliteRow) -> Result<String, StoreError> {
    let mut object = Map::new();
    object.insert("table".to_owned(), table.into());
    for (index, column) in row.columns().iter().enumerate() {
        let value = match row.try_get_raw(index)?.type_info().name() {
            "INTEGER" => row.try_get::<Option<i64>, _>(index)?.map(Value::from),
            _ => row.try_get::<Option<String>, _>(index)?.map(Value::from),
        };
        object.insert(column.name().to_owned(), value.unwrap_or(Value::Null));
    }
    Ok(Value::Object(object).to_string())
}
