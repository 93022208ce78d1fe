//! Appending spans, reading the history and its size, and removing its spans.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use sqlx::{Row as _, Sqlite, SqliteConnection, sqlite::SqliteOperation};

use super::cleanup::rows;
use crate::{
    presence::Timestamp,
    store::{
        HistoryStats, LoadHistory, StoreError, StoredHistory,
        connection::{ConnectionPool, Setup, with_timeout},
        history::HistoryMode,
        rows::{Row, add_history},
        sql::{Sql, sql},
    },
};

/// The triggers that note users without room.
const NOTE_CROWDED_USERS: Sql = sql!("note_crowded_users");
/// The triggers that append spans.
const APPEND_SPANS: Sql = sql!("append_spans");
const LOAD_HISTORY: Sql = sql!("load_history");
const REMOVE_SPANS: Sql = sql!("remove_spans");
const MOVE_HISTORY_START: Sql = sql!("move_history_start");
pub(super) const HISTORY_SIZE: Sql = sql!("history_size");
pub(super) const OLDEST_SPAN: Sql = sql!("oldest_span");
/// For the doctor.
pub(super) const OLD_SPANS: Sql = sql!("old_spans");

/// Makes a writing connection note users without room, and append spans, which it counts.
#[derive(Debug)]
pub(super) struct WriterSetup(pub(super) Arc<HistoryMode>);

#[async_trait]
impl Setup<SqliteConnection> for WriterSetup {
    async fn prepare(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(NOTE_CROWDED_USERS.text).execute(&mut *connection).await?;
        if !self.0.keeps() {
            return Ok(());
        }
        sqlx::raw_sql(APPEND_SPANS.text).execute(&mut *connection).await?;
        // SQLite calls the hook for rows with a rowid, which only the history has. So a refresh
        // doesn't call it.
        let (appended, history) = (Arc::new(AtomicU64::new(0)), Arc::clone(&self.0));
        let (committed, rolled_back) = (Arc::clone(&appended), Arc::clone(&appended));
        let mut handle = connection.lock_handle().await?;
        handle.set_update_hook(move |row| {
            if row.operation == SqliteOperation::Insert && row.table == "presence_history" {
                appended.fetch_add(1, Ordering::Relaxed);
            }
        });
        handle.set_commit_hook(move || {
            history.count(committed.swap(0, Ordering::Relaxed));
            true
        });
        handle.set_rollback_hook(move || rolled_back.store(0, Ordering::Relaxed));
        Ok(())
    }
}

/// [`crate::store::Store::load_history`].
pub(super) async fn load_history(
    readers: &ConnectionPool<Sqlite>,
    now: Timestamp,
    load: &LoadHistory,
) -> Result<Vec<StoredHistory>, StoreError> {
    let mut users = Vec::with_capacity(load.users.len());
    for user in &load.users {
        let query = sqlx::query(LOAD_HISTORY.text)
            .bind(user.tenant_id.to_string())
            .bind(user.user_id.as_str())
            .bind(load.before.as_millis())
            .bind(i64::from(load.spans_max));
        let rows = rows(readers, &LOAD_HISTORY, query).await?;
        let mut stored = StoredHistory::default();
        add_history(&mut stored, now, load.spans_max, &rows.iter().collect::<Vec<_>>())?;
        users.push(stored);
    }
    Ok(users)
}

/// Moves the start of the complete history forward.
pub(super) async fn move_start(
    writer: &ConnectionPool<Sqlite>,
    history: &HistoryMode,
    now: Timestamp,
    start: Timestamp,
) -> Result<(), StoreError> {
    let query = sqlx::query(MOVE_HISTORY_START.text).bind(now.as_millis()).bind(start.as_millis());
    rows(writer, &MOVE_HISTORY_START, query).await?;
    history.stored(start);
    Ok(())
}

/// [`crate::store::Store::remove_spans`].
pub(super) async fn remove_spans(
    writer: &ConnectionPool<Sqlite>,
    history: &HistoryMode,
    now: Timestamp,
    before: Timestamp,
    limit: u32,
) -> Result<u64, StoreError> {
    move_start(writer, history, now, before).await?;
    let query = sqlx::query(REMOVE_SPANS.text).bind(before.as_millis()).bind(i64::from(limit));
    let mut connection = writer.acquire().await?;
    let outcome = with_timeout(query.execute(&mut *connection)).await;
    Ok(writer.release(connection, REMOVE_SPANS.name, outcome)?.rows_affected())
}

/// [`crate::store::Store::history_stats`].
pub(super) async fn stats(readers: &ConnectionPool<Sqlite>) -> Result<HistoryStats, StoreError> {
    let size = rows(readers, &HISTORY_SIZE, sqlx::query(HISTORY_SIZE.text)).await?;
    let oldest = rows(readers, &OLDEST_SPAN, sqlx::query(OLDEST_SPAN.text)).await?;
    let bytes: i64 = size.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(HistoryStats {
        bytes: bytes.unsigned_abs(),
        oldest_ended_at: oldest.first().map_or(Ok(None), |row| row.time(0))?,
    })
}
