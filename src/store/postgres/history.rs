//! Reading the history, and removing its spans.

use std::collections::HashMap;

use super::statement::{StatementResult, Statements};
use crate::{
    presence::Timestamp,
    store::{
        LoadHistory, StoreError, StoredHistory, keys,
        rows::{Row, add_history, required},
        sql::{Sql, sql},
    },
};

pub(super) const LOAD_HISTORY: Sql = sql!("load_history");
const LOAD_HISTORY_DISTRIBUTED: Sql = sql!("load_history_distributed");
pub(super) const REMOVE_SPANS: Sql = sql!("remove_spans");
const REMOVE_SPANS_DISTRIBUTED: Sql = sql!("remove_spans_distributed");
const HISTORY_START: Sql = sql!("history_start");

/// [`crate::store::Store::load_history`].
pub(super) async fn load_history(
    statements: &Statements,
    now: Timestamp,
    load: &LoadHistory,
) -> Result<Vec<StoredHistory>, StoreError> {
    let sql = if statements.is_distributed() { &LOAD_HISTORY_DISTRIBUTED } else { &LOAD_HISTORY };
    let mut found = HashMap::new();
    for (tenant_id, user_ids) in keys::by_tenant(&load.users) {
        let query = statements
            .query(sql)
            .bind(tenant_id)
            .bind(user_ids)
            .bind(load.before.as_millis())
            .bind(i64::from(load.spans_max));
        let StatementResult { rows, .. } = statements.run(sql, query).await?;
        let mut by_user: HashMap<_, Vec<_>> = HashMap::new();
        for row in &rows {
            by_user.entry(required(row.text(0)?)?.to_owned()).or_default().push(row);
        }
        for (user_id, rows) in by_user {
            let mut stored = StoredHistory::default();
            add_history(&mut stored, now, load.spans_max, &rows)?;
            found.insert((tenant_id, user_id), stored);
        }
    }
    // Read after the spans: the start moves before spans are removed or left out.
    let start = start(statements).await?;
    let stored = |key: &crate::store::UserKey| {
        let found = found.get(&(key.tenant_id, key.user_id.to_string()));
        let mut stored: StoredHistory = found.cloned().unwrap_or_default();
        stored.complete_from = stored.complete_from.max(start);
        stored
    };
    Ok(load.users.iter().map(stored).collect())
}

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
        let query = statements.query(&REMOVE_SPANS_DISTRIBUTED).bind(before.as_millis());
        statements.run(&REMOVE_SPANS_DISTRIBUTED, query).await?;
        return Ok(0);
    }
    let query = statements.query(&REMOVE_SPANS).bind(before.as_millis()).bind(i64::from(rows));
    Ok(statements.run(&REMOVE_SPANS, query).await?.affected)
}
