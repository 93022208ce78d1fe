//! Opening and refreshing sessions.

use std::collections::HashSet;

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
        SetOutcome, SetSession, StoreError, author_columns,
        keys::{self, Newest},
        sql::{Sql, sql},
    },
};

pub(super) const SET_SESSIONS: Sql = sql!("set_sessions");

/// [`crate::store::Store::set_sessions`].
pub(super) async fn set_sessions(
    statements: &Statements,
    now: Timestamp,
    sets: &[SetSession],
) -> Result<Vec<SetOutcome>, StoreError> {
    if sets.is_empty() {
        return Ok(Vec::new());
    }
    let newest = keys::newest_of_each(now, sets);
    let rows = written_rows(statements, &SET_SESSIONS, write(statements, now, &newest).await?)?;
    let (mut opened, mut written) = (Vec::new(), HashSet::new());
    // Decoding a key takes time, and most sets refresh a session.
    let all_written = rows.len() == newest.len();
    for row in &rows {
        if column(row, 6)? {
            opened.push(written_key(row)?);
        }
        if !all_written {
            written.insert(written_key(row)?);
        }
    }
    let is_written = |key: &_| all_written || written.contains(key);
    committed::sessions(statements, now, &newest, is_written).await?;
    let evicted = room::make(statements, now, &opened).await;
    Ok(keys::set_outcomes(sets, &newest, is_written, &evicted))
}

pub(super) async fn write(
    statements: &Statements,
    now: Timestamp,
    sets: &[Newest<'_, SetSession>],
) -> Result<Vec<PgRow>, StoreError> {
    let all = || sets.iter().map(|newest| newest.write);
    let query = bind_keys(statements, &SET_SESSIONS, all().map(|set| &set.key))
        .bind(all().map(|set| <&str>::from(set.pair.availability)).collect::<Vec<_>>())
        .bind(all().map(|set| <&str>::from(set.pair.activity)).collect::<Vec<_>>())
        .bind(all().map(|set| (now + set.expires_after).as_millis()).collect::<Vec<_>>())
        .bind(all().map(|set| author_columns(&set.set_by).0).collect::<Vec<_>>())
        .bind(all().map(|set| author_columns(&set.set_by).1).collect::<Vec<_>>())
        .bind(sets.iter().map(|newest| newest.observed.column()).collect::<Vec<_>>())
        .bind(all().map(|set| set.holder).collect::<Vec<_>>())
        .bind(all().map(|set| set.message.as_deref()).collect::<Vec<_>>())
        .bind(now.as_millis());
    statements.write(now, &SET_SESSIONS, query).await
}
