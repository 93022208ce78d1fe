//! Extending held sessions.

use std::collections::HashSet;

use sqlx::postgres::PgRow;

use super::{
    common::{bind_sessions, session_key},
    statement::Statements,
};
use crate::{
    presence::Timestamp,
    store::{
        SetSession, StoreError, keys, rows,
        rows::Row,
        sql::{Sql, sql},
    },
};

pub(super) const EXTEND_SESSIONS: Sql = sql!("extend_sessions");

/// [`crate::store::Store::extend_sessions`].
pub(super) async fn extend_sessions(
    statements: &Statements,
    now: Timestamp,
    held: &[SetSession],
) -> Result<Vec<bool>, StoreError> {
    let mut shown = HashSet::new();
    for round in keys::longest_of_each(held) {
        for row in write(statements, now, &round).await? {
            if row.text(4)?.is_some() {
                shown.insert((session_key(&row, 3)?, rows::pair(row.text(4)?, row.text(5)?)?));
            }
        }
    }
    // The extension of a session that shows the pair applied.
    Ok(held.iter().map(|set| shown.contains(&(set.key.clone(), set.pair))).collect())
}

pub(super) async fn write(
    statements: &Statements,
    now: Timestamp,
    held: &[&SetSession],
) -> Result<Vec<PgRow>, StoreError> {
    let query = bind_sessions(statements, &EXTEND_SESSIONS, now, held).bind(now.as_millis());
    statements.write(&EXTEND_SESSIONS, query).await
}
