//! Opening and refreshing sessions.

use sqlx::postgres::PgRow;

use super::{
    committed,
    common::{bind_sessions, user_key},
    room,
    statement::{Statements, column},
};
use crate::{
    presence::Timestamp,
    store::{
        SetSession, StoreError, author_columns, keys,
        sql::{Sql, sql},
    },
};

pub(super) const SET_SESSIONS: Sql = sql!("set_sessions");

/// [`crate::store::Store::set_sessions`].
pub(super) async fn set_sessions(
    statements: &Statements,
    now: Timestamp,
    sets: &[SetSession],
) -> Result<(), StoreError> {
    if sets.is_empty() {
        return Ok(());
    }
    let mut opened = Vec::new();
    for row in write(statements, now, sets).await? {
        if column(&row, 4)? {
            opened.push(user_key(&row)?);
        }
    }
    committed::sessions(statements, now, sets.iter().map(|set| &set.key)).await?;
    room::make(statements, now, &opened).await;
    Ok(())
}

pub(super) async fn write(
    statements: &Statements,
    now: Timestamp,
    sets: &[SetSession],
) -> Result<Vec<PgRow>, StoreError> {
    let sets = keys::last_of_each(sets);
    let query = bind_sessions(statements, &SET_SESSIONS, now, &sets)
        .bind(sets.iter().map(|set| author_columns(&set.set_by).0).collect::<Vec<_>>())
        .bind(sets.iter().map(|set| author_columns(&set.set_by).1).collect::<Vec<_>>())
        .bind(now.as_millis());
    statements.write(now, &SET_SESSIONS, query).await
}
