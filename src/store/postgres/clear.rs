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
        SessionKey, StoreError, keys,
        rows::at_position,
        sql::{Sql, sql},
    },
};

pub(super) const CLEAR_SESSIONS: Sql = sql!("clear_sessions");

/// [`crate::store::Store::clear_sessions`].
pub(super) async fn clear_sessions(
    statements: &Statements,
    now: Timestamp,
    keys: &[SessionKey],
) -> Result<Vec<bool>, StoreError> {
    let mut results = vec![false; keys.len()];
    if keys.is_empty() {
        return Ok(results);
    }
    let distinct = keys::first_of_each(keys);
    let mut marked = Vec::new();
    for row in write(statements, now, &distinct).await? {
        let (key, ended) = (session_key(&row, 3)?, column(&row, 2)?);
        let found = distinct.binary_search_by(|(requested, _)| (*requested).cmp(&key)).ok();
        let position = found.and_then(|index| distinct.get(index)).map(|(_, position)| *position);
        *at_position(&mut results, position)? = ended;
        if column(&row, 4)? {
            marked.push(key.user);
        }
    }
    committed::sessions(statements, now, keys.iter()).await?;
    room::make(statements, now, &marked).await;
    Ok(results)
}

pub(super) async fn write(
    statements: &Statements,
    now: Timestamp,
    keys: &[(&SessionKey, usize)],
) -> Result<Vec<PgRow>, StoreError> {
    let query =
        bind_keys(statements, &CLEAR_SESSIONS, keys.iter().map(|(key, _)| *key)).bind(now.as_millis());
    statements.write(&CLEAR_SESSIONS, query).await
}
