//! Ending sessions.

use sqlx::postgres::PgRow;

use super::{
    committed,
    common::{bind_keys, session_key},
    room,
    statement::{Statements, column},
};
use crate::{
    presence::Timestamp,
    store::{
        ClearSession, StoreError, author_columns, keys,
        rows::at_position,
        sql::{Sql, sql},
    },
};

pub(super) const CLEAR_SESSIONS: Sql = sql!("clear_sessions");

/// [`crate::store::Store::clear_sessions`].
pub(super) async fn clear_sessions(
    statements: &Statements,
    now: Timestamp,
    clears: &[ClearSession],
) -> Result<Vec<bool>, StoreError> {
    let mut results = vec![false; clears.len()];
    if clears.is_empty() {
        return Ok(results);
    }
    let distinct = keys::first_of_each(clears);
    let mut marked = Vec::new();
    for row in write(statements, now, &distinct).await? {
        let (key, ended) = (session_key(&row, 4)?, column(&row, 2)?);
        let found = distinct.binary_search_by(|(clear, _)| clear.key.cmp(&key)).ok();
        let position = found.and_then(|index| distinct.get(index)).map(|(_, position)| *position);
        *at_position(&mut results, position)? = ended;
        if column(&row, 5)? {
            marked.push(key.user);
        }
    }
    committed::sessions(statements, now, clears.iter().map(|clear| &clear.key)).await?;
    room::make(statements, now, &marked).await;
    Ok(results)
}

pub(super) async fn write(
    statements: &Statements,
    now: Timestamp,
    clears: &[(&ClearSession, usize)],
) -> Result<Vec<PgRow>, StoreError> {
    let authors = || clears.iter().map(|(clear, _)| author_columns(&clear.cleared_by));
    let query = bind_keys(statements, &CLEAR_SESSIONS, clears.iter().map(|(clear, _)| &clear.key))
        .bind(authors().map(|(application, _)| application).collect::<Vec<_>>())
        .bind(authors().map(|(_, user)| user).collect::<Vec<_>>())
        .bind(now.as_millis());
    statements.write(now, &CLEAR_SESSIONS, query).await
}
