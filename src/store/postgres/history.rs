//! Reading the history and its size, and removing its spans.

use std::{collections::BTreeMap, time::Duration};

use super::statement::{StatementResult, Statements, column};
use crate::{
    presence::Timestamp,
    store::{
        HistoryStats, LoadHistory, StoreError, StoredHistory,
        rows::{Row, TenantUsers, add_history, required},
        sql::{Sql, sql},
    },
};

pub(super) const LOAD_HISTORY: Sql = sql!("load_history");
const LOAD_HISTORY_DISTRIBUTED: Sql = sql!("load_history_distributed");
pub(super) const REMOVE_SPANS: Sql = sql!("remove_spans");
const REMOVE_SPANS_DISTRIBUTED: Sql = sql!("remove_spans_distributed");
const HISTORY_START: Sql = sql!("history_start");
const HISTORY_SIZE: Sql = sql!("history_size");
const HISTORY_SIZE_DISTRIBUTED: Sql = sql!("history_size_distributed");
pub(super) const OLDEST_SPAN: Sql = sql!("oldest_span");
/// For the doctor.
pub(super) const OLD_SPANS: Sql = sql!("old_spans");

/// The time whose spans one statement removes on Citus.
const SLICE: Duration = Duration::from_mins(10);

/// [`crate::store::Store::load_history`].
pub(super) async fn load_history(
    statements: &Statements,
    now: Timestamp,
    load: &LoadHistory,
) -> Result<Vec<StoredHistory>, StoreError> {
    let sql = if statements.is_distributed() { &LOAD_HISTORY_DISTRIBUTED } else { &LOAD_HISTORY };
    let (mut tenants, mut start) = (TenantUsers::<StoredHistory>::split(&load.users), None);
    for tenant in &mut tenants {
        let query = statements
            .query(sql)
            .bind(tenant.tenant_id)
            .bind(&tenant.user_ids)
            .bind(load.before.as_millis())
            .bind(i64::from(load.spans_max));
        let StatementResult { rows, .. } = statements.run(sql, query).await?;
        let mut rows_of = BTreeMap::<_, Vec<_>>::new();
        for row in &rows {
            match required(row.text(0)?)? {
                "" => start = row.time(20)?,
                user_id => rows_of.entry(user_id).or_default().push(row),
            }
        }
        for (user_id, rows) in &rows_of {
            add_history(tenant.of(user_id)?, now, load.spans_max, rows)?;
        }
    }
    if statements.is_distributed() {
        // Read after the spans: the start moves before spans are removed or left out.
        start = self::start(statements).await?;
    }
    let mut histories = TenantUsers::join(tenants, &load.users);
    for stored in &mut histories {
        stored.begin_at(start);
    }
    Ok(histories)
}

/// Reads the start of the complete history on Citus, where it is on another node than the spans.
async fn start(statements: &Statements) -> Result<Option<Timestamp>, StoreError> {
    let StatementResult { rows, .. } =
        statements.run(&HISTORY_START, statements.query(&HISTORY_START)).await?;
    rows.first().map(|row| required(row.time(0)?)).transpose()
}

/// [`crate::store::Store::remove_spans`].
pub(super) async fn remove_spans(
    statements: &Statements,
    now: Timestamp,
    before: Timestamp,
    rows: u32,
) -> Result<u64, StoreError> {
    statements.move_history_start(now, before).await?;
    if statements.is_distributed() {
        return remove_slice(statements, before, rows).await;
    }
    let query = statements.query(&REMOVE_SPANS).bind(before.as_millis()).bind(i64::from(rows));
    Ok(statements.run(&REMOVE_SPANS, query).await?.affected)
}

/// The statement that returns the size of the history. On Citus the tables are on the worker nodes.
pub(super) const fn size(is_distributed: bool) -> &'static Sql {
    if is_distributed { &HISTORY_SIZE_DISTRIBUTED } else { &HISTORY_SIZE }
}

/// [`crate::store::Store::history_stats`].
pub(super) async fn stats(statements: &Statements) -> Result<HistoryStats, StoreError> {
    let sql = size(statements.is_distributed());
    let size = statements.run(sql, statements.query(sql)).await?;
    let oldest = statements.run(&OLDEST_SPAN, statements.query(&OLDEST_SPAN)).await?;
    let bytes: i64 = size.rows.first().map_or(Ok(0), |row| column(row, 0))?;
    Ok(HistoryStats {
        bytes: bytes.unsigned_abs(),
        oldest_ended_at: oldest.rows.first().map_or(Ok(None), |row| row.time(0))?,
    })
}

/// Removes the oldest spans on Citus, where a statement can't remove a number of rows. Returns `rows`
/// while more follow.
async fn remove_slice(statements: &Statements, before: Timestamp, rows: u32) -> Result<u64, StoreError> {
    let oldest = statements.run(&OLDEST_SPAN, statements.query(&OLDEST_SPAN)).await?.rows;
    let oldest = oldest.first().map(|row| row.time(0)).transpose()?.flatten();
    let Some(oldest) = oldest.filter(|oldest| *oldest < before) else { return Ok(0) };
    let end = before.min(oldest + SLICE);
    let query = statements.query(&REMOVE_SPANS_DISTRIBUTED).bind(end.as_millis());
    statements.run(&REMOVE_SPANS_DISTRIBUTED, query).await?;
    Ok(if end < before { rows.into() } else { 0 })
}
