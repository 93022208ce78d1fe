//! Making sure that a write on Citus was committed.
//!
//! Citus commits a write to one shard in one phase. If the worker node dies before it commits, the
//! coordinator logs "failed to commit transaction on NODE" as a warning, and reports success. So a
//! write is read back before it is acknowledged. Every set and clear moves `observed_at` to `now`
//! or later. An extension is not read back: a lost one is repeated within half the grace.

use std::collections::HashSet;

use super::{
    common::{bind_keys, session_key},
    statement::Statements,
};
use crate::{
    presence::Timestamp,
    store::{
        SessionKey, StoreError, UserKey,
        sql::{Sql, sql},
    },
};

const COMMITTED_SESSIONS: Sql = sql!("committed_sessions");
const COMMITTED_USER: Sql = sql!("committed_user");

/// Fails if a write of these sessions was lost.
pub(super) async fn sessions<'q>(
    statements: &Statements,
    now: Timestamp,
    keys: impl Iterator<Item = &'q SessionKey> + Clone,
) -> Result<(), StoreError> {
    if !statements.is_distributed() {
        return Ok(());
    }
    let query = bind_keys(statements, &COMMITTED_SESSIONS, keys.clone()).bind(now.as_millis());
    let rows = statements.run(&COMMITTED_SESSIONS, query).await?.rows;
    let committed: Result<HashSet<_>, _> = rows.iter().map(|row| session_key(row, 2)).collect();
    let committed = committed?;
    check(keys.clone().all(|key| committed.contains(key)))
}

/// Fails if a write of this user's row was lost.
pub(super) async fn user(statements: &Statements, now: Timestamp, user: &UserKey) -> Result<(), StoreError> {
    if !statements.is_distributed() {
        return Ok(());
    }
    let query = statements
        .query(&COMMITTED_USER)
        .bind(user.tenant_id)
        .bind(user.user_id.as_str())
        .bind(now.as_millis());
    check(!statements.run(&COMMITTED_USER, query).await?.rows.is_empty())
}

fn check(committed: bool) -> Result<(), StoreError> {
    if committed {
        return Ok(());
    }
    Err(StoreError::Unavailable("a worker node of Citus did not commit the write".to_owned()))
}
