//! Reading the history, and removing its spans.

use sqlx::Sqlite;

use super::cleanup::rows;
use crate::{
    presence::Timestamp,
    store::{
        LoadHistory, StoreError, StoredHistory,
        connection::{ConnectionPool, with_timeout},
        history::HistoryMode,
        rows::{Row, add_history, required},
        sql::{Sql, sql},
    },
};

/// The triggers that append spans.
pub(super) const APPEND_SPANS: Sql = sql!("append_spans");
const LOAD_HISTORY: Sql = sql!("load_history");
const REMOVE_SPANS: Sql = sql!("remove_spans");
const MOVE_HISTORY_START: Sql = sql!("move_history_start");
const HISTORY_START: Sql = sql!("history_start");

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
    // Read after the spans: the start moves before spans are removed or left out.
    let start = rows(readers, &HISTORY_START, sqlx::query(HISTORY_START.text)).await?;
    let start = start.first().map(|row| required(row.time(0)?)).transpose()?;
    for stored in &mut users {
        stored.begin_at(start);
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
