//! Extending held sessions.

use std::collections::HashSet;

use sqlx::postgres::PgRow;
use tracing::debug;

use super::{
    cleanup,
    common::{bind_sessions, session_key},
    statement::{Statements, column},
};
use crate::{
    presence::Timestamp,
    store::{
        SessionRow, SetSession, StoreError, keys, rows,
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
    let (mut shown, mut missing) = (HashSet::new(), Vec::new());
    for round in keys::longest_of_each(held) {
        for row in write(statements, now, &round).await? {
            let key = session_key(&row, 4)?;
            if row.text(5)?.is_some() {
                shown.insert((key, rows::pair(row.text(5)?, row.text(6)?)?));
            } else if column(&row, 7)? {
                missing.push(SessionRow { key, set_at: now, unused_from: Some(now) });
            }
        }
    }
    // The next cleanup removes the rows that remain after a failure.
    if let Err(error) = cleanup::remove_sessions(statements, now, &missing).await {
        debug!(%error, "rows of missing sessions were not removed");
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
    statements.write(now, &EXTEND_SESSIONS, query).await
}
