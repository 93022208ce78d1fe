//! Extending and changing held sessions.

use std::collections::{HashMap, HashSet};

use sqlx::postgres::PgRow;
use tracing::debug;
use uuid::Uuid;

use super::{
    cleanup,
    common::{bind_keys, written_key, written_rows},
    statement::{Statements, column},
};
use crate::{
    presence::Timestamp,
    store::{
        ExtendSession, Hold, SessionRow, StoreError,
        keys::{self, Round},
        rows::{Row, required},
        sql::{Sql, sql},
    },
};

pub(super) const EXTEND_SESSIONS: Sql = sql!("extend_sessions");
pub(super) const CURRENT_HOLDS: Sql = sql!("current_holds");
const CURRENT_HOLDS_DISTRIBUTED: Sql = sql!("current_holds_distributed");

/// [`crate::store::Store::extend_sessions`].
pub(super) async fn extend_sessions(
    statements: &Statements,
    now: Timestamp,
    held: &[ExtendSession],
) -> Result<Vec<Option<Timestamp>>, StoreError> {
    let (mut outcomes, mut missing) = (vec![None; held.len()], Vec::new());
    for round in keys::rounds(held) {
        let mut extended = HashMap::with_capacity(round.len());
        let rows = write(statements, now, &round).await?;
        for row in written_rows(statements, &EXTEND_SESSIONS, rows)? {
            let key = written_key(&row)?;
            if column(&row, 7)? {
                missing.push(SessionRow { key, set_at: now, unused_from: Some(now) });
            } else {
                extended.insert(key, required(row.time(6)?)?);
            }
        }
        keys::note_extended(&mut outcomes, &round, &extended);
    }
    // The next cleanup removes the rows that remain after a failure.
    if let Err(error) = cleanup::remove_sessions(statements, now, &missing).await {
        debug!(%error, "rows of missing sessions were not removed");
    }
    Ok(outcomes)
}

pub(super) async fn write(
    statements: &Statements,
    now: Timestamp,
    round: &Round<'_>,
) -> Result<Vec<PgRow>, StoreError> {
    let all = || round.iter().map(|(extension, _)| *extension);
    let observed = || all().map(|extension| extension.observed_columns(now));
    let query = bind_keys(statements, &EXTEND_SESSIONS, all().map(|extension| &extension.key))
        .bind(all().map(|extension| extension.holder).collect::<Vec<_>>())
        .bind(all().map(|extension| (now + extension.expires_after).as_millis()).collect::<Vec<_>>())
        .bind(all().map(|extension| extension.pair_columns().0).collect::<Vec<_>>())
        .bind(all().map(|extension| extension.pair_columns().1).collect::<Vec<_>>())
        .bind(observed().map(|(at, _)| at).collect::<Vec<_>>())
        .bind(observed().map(|(_, by_caller)| by_caller).collect::<Vec<_>>())
        .bind(all().map(ExtendSession::message_column).collect::<Vec<_>>())
        .bind(now.as_millis());
    statements.write(now, &EXTEND_SESSIONS, query).await
}

/// [`crate::store::Store::current_holds`].
pub(super) async fn current_holds(statements: &Statements, holds: &[Hold]) -> Result<Vec<bool>, StoreError> {
    let sql = if statements.is_distributed() { &CURRENT_HOLDS_DISTRIBUTED } else { &CURRENT_HOLDS };
    let users: Vec<_> = holds.iter().map(|hold| hold.user.clone()).collect();
    let holders: Vec<_> = holds.iter().map(|hold| hold.holder).collect();
    let mut current: HashSet<Uuid> = HashSet::with_capacity(holds.len());
    for (tenant_id, user_ids) in keys::by_tenant(&users) {
        let query = statements.query(sql).bind(tenant_id).bind(user_ids).bind(&holders);
        for row in statements.run(sql, query).await?.rows {
            current.insert(column(&row, 0)?);
        }
    }
    Ok(holds.iter().map(|hold| current.contains(&hold.holder)).collect())
}
