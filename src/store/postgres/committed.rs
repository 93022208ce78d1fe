//! Making sure that a write on Citus was committed.
//!
//! Citus commits a write to one shard in one phase. If the worker node dies before it commits, the
//! coordinator logs "failed to commit transaction on NODE" as a warning, and reports success. So a
//! write is read back before it is acknowledged. Every set and clear moves `observed_at` to its time
//! of observation or later. An extension is not read back: a lost one is repeated within half the
//! grace.

use std::collections::HashMap;

use super::{
    common::{bind_keys, session_key},
    statement::Statements,
};
use crate::{
    presence::Timestamp,
    store::{
        SessionKey, StoreError, UserKey,
        keys::{Newest, Observation},
        rows::{Row, required},
        sql::{Sql, sql},
    },
};

const COMMITTED_SESSIONS: Sql = sql!("committed_sessions");
const COMMITTED_USER: Sql = sql!("committed_user");

/// Fails if a write of these sessions was lost. `is_written` says whether the statement wrote one.
pub(super) async fn sessions<W: Observation>(
    statements: &Statements,
    now: Timestamp,
    writes: &[Newest<'_, W>],
    is_written: impl Fn(&SessionKey) -> bool,
) -> Result<(), StoreError> {
    if !statements.is_distributed() {
        return Ok(());
    }
    let writes = || writes.iter().filter(|newest| is_written(newest.write.key()));
    let query = bind_keys(statements, &COMMITTED_SESSIONS, writes().map(|newest| newest.write.key()));
    let mut stored = HashMap::new();
    for row in statements.run(&COMMITTED_SESSIONS, query).await?.rows {
        stored.insert(session_key(&row, 2)?, required(row.time(3)?)?);
    }
    check(writes().all(|newest| {
        let observed_at = newest.observed.at(now);
        stored.get(newest.write.key()).is_some_and(|stored| *stored >= observed_at)
    }))
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
