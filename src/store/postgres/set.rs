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
        SetSession, StoreError, keys,
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
        if column(&row, 3)? {
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
        .bind(sets.iter().map(|set| set.set_by.columns().0).collect::<Vec<_>>())
        .bind(sets.iter().map(|set| set.set_by.columns().1).collect::<Vec<_>>())
        .bind(now.as_millis());
    statements.write(&SET_SESSIONS, query).await
}
