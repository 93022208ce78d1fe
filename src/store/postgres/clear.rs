//! Ending sessions.

use std::collections::HashMap;

use sqlx::postgres::PgRow;

use super::{
    committed,
    common::{bind_keys, written_key, written_rows},
    room,
    statement::{Statements, column},
};
use crate::{
    presence::Timestamp,
    store::{
        ClearOutcome, ClearSession, StoreError, author_columns,
        keys::{self, Newest},
        sql::{Sql, sql},
    },
};

pub(super) const CLEAR_SESSIONS: Sql = sql!("clear_sessions");

/// [`crate::store::Store::clear_sessions`].
pub(super) async fn clear_sessions(
    statements: &Statements,
    now: Timestamp,
    clears: &[ClearSession],
) -> Result<Vec<ClearOutcome>, StoreError> {
    if clears.is_empty() {
        return Ok(Vec::new());
    }
    let newest = keys::newest_of_each(now, clears);
    let (mut marked, mut written) = (Vec::new(), HashMap::with_capacity(newest.len()));
    let rows = write(statements, now, &newest).await?;
    for row in written_rows(statements, &CLEAR_SESSIONS, rows)? {
        let key = written_key(&row)?;
        if column(&row, 7)? {
            marked.push(key.clone());
        }
        written.insert(key, column(&row, 6)?);
    }
    committed::sessions(statements, now, &newest, |key| written.contains_key(key)).await?;
    room::make(statements, now, &marked).await;
    Ok(keys::clear_outcomes(clears, &newest, &written))
}

pub(super) async fn write(
    statements: &Statements,
    now: Timestamp,
    clears: &[Newest<'_, ClearSession>],
) -> Result<Vec<PgRow>, StoreError> {
    let all = || clears.iter().map(|newest| newest.write);
    let query = bind_keys(statements, &CLEAR_SESSIONS, all().map(|clear| &clear.key))
        .bind(all().map(|clear| author_columns(&clear.cleared_by).0).collect::<Vec<_>>())
        .bind(all().map(|clear| author_columns(&clear.cleared_by).1).collect::<Vec<_>>())
        .bind(clears.iter().map(|newest| newest.observed.column()).collect::<Vec<_>>())
        .bind(all().map(|clear| clear.holder).collect::<Vec<_>>())
        .bind(now.as_millis());
    statements.write(now, &CLEAR_SESSIONS, query).await
}
