//! Reading and removing rows that are no longer needed, and the lease of that task.

use super::{
    common::{bind_keys, session_key, user_key},
    statement::{StatementResult, Statements, column},
};
use crate::{
    presence::Timestamp,
    store::{
        Lease, SessionKey, SessionRow, StoreError, UserKey, UserRow, first_key,
        rows::Row,
        rows::required,
        sql::{Sql, sql},
    },
};

pub(super) const SCAN_SESSIONS: Sql = sql!("scan_sessions");
pub(super) const REMOVE_SESSIONS: Sql = sql!("remove_sessions");
/// Citus locks no rows of several shards, so there one statement removes one row.
const REMOVE_SESSION: Sql = sql!("remove_session");
const REMOVE_USER: Sql = sql!("remove_user");
pub(super) const SCAN_USERS: Sql = sql!("scan_users");
pub(super) const REMOVE_USERS: Sql = sql!("remove_users");
pub(super) const TAKE_LEASE: Sql = sql!("take_lease");

/// [`crate::store::Store::scan_sessions`].
pub(super) async fn scan_sessions(
    statements: &Statements,
    now: Timestamp,
    after: Option<&SessionKey>,
    rows: u32,
) -> Result<Vec<SessionRow>, StoreError> {
    let (tenant_id, user_id) = first_key(after.map(|key| &key.user));
    let query = statements
        .query(&SCAN_SESSIONS)
        .bind(tenant_id)
        .bind(user_id)
        .bind(after.map_or("", |key| key.session_id.as_str()))
        .bind(i64::from(rows))
        .bind(now.as_millis());
    let decode = |row| {
        Ok(SessionRow {
            key: session_key(row, 2)?,
            set_at: required(row.time(3)?)?,
            unused_from: row.time(4)?,
        })
    };
    statements.run(&SCAN_SESSIONS, query).await?.rows.iter().map(decode).collect()
}

/// [`crate::store::Store::remove_sessions`].
pub(super) async fn remove_sessions(
    statements: &Statements,
    now: Timestamp,
    sessions: &[SessionRow],
) -> Result<u64, StoreError> {
    if sessions.is_empty() {
        return Ok(0);
    }
    statements.prepare_write(now).await?;
    if statements.is_distributed() {
        let mut removed = 0;
        for SessionRow { key, set_at, .. } in sessions {
            let query = statements
                .query(&REMOVE_SESSION)
                .bind(key.user.tenant_id)
                .bind(key.user.user_id.as_str())
                .bind(key.session_id.as_str())
                .bind(set_at.as_millis())
                .bind(now.as_millis())
                .bind(statements.history().keeps());
            removed += counted(statements, &statements.run(&REMOVE_SESSION, query).await?)?;
        }
        return Ok(removed);
    }
    let query = bind_keys(statements, &REMOVE_SESSIONS, sessions.iter().map(|session| &session.key))
        .bind(sessions.iter().map(|session| session.set_at.as_millis()).collect::<Vec<_>>())
        .bind(now.as_millis())
        .bind(statements.history().keeps());
    counted(statements, &statements.run(&REMOVE_SESSIONS, query).await?)
}

/// Counts the spans of removed rows, which the first column says. Returns the number of rows.
fn counted(statements: &Statements, removed: &StatementResult) -> Result<u64, StoreError> {
    let mut spans = 0;
    for row in &removed.rows {
        spans += column::<i32>(row, 0)?.unsigned_abs();
    }
    statements.history().count(spans.into());
    Ok(removed.affected)
}

/// [`crate::store::Store::scan_users`].
pub(super) async fn scan_users(
    statements: &Statements,
    now: Timestamp,
    after: Option<&UserKey>,
    rows: u32,
) -> Result<Vec<UserRow>, StoreError> {
    let (tenant_id, user_id) = first_key(after);
    let query = statements
        .query(&SCAN_USERS)
        .bind(tenant_id)
        .bind(user_id)
        .bind(i64::from(rows))
        .bind(now.as_millis());
    let decode =
        |row| Ok(UserRow { key: user_key(row)?, set_at: required(row.time(2)?)?, unused_from: row.time(3)? });
    statements.run(&SCAN_USERS, query).await?.rows.iter().map(decode).collect()
}

/// [`crate::store::Store::remove_users`].
pub(super) async fn remove_users(statements: &Statements, users: &[UserRow]) -> Result<u64, StoreError> {
    if users.is_empty() {
        return Ok(0);
    }
    statements.prepare_write(statements.clock().now()).await?;
    if statements.is_distributed() {
        let mut removed = 0;
        for UserRow { key, set_at, .. } in users {
            let query = statements
                .query(&REMOVE_USER)
                .bind(key.tenant_id)
                .bind(key.user_id.as_str())
                .bind(set_at.as_millis())
                .bind(statements.history().keeps());
            removed += counted(statements, &statements.run(&REMOVE_USER, query).await?)?;
        }
        return Ok(removed);
    }
    let query = statements
        .query(&REMOVE_USERS)
        .bind(users.iter().map(|user| user.key.tenant_id).collect::<Vec<_>>())
        .bind(users.iter().map(|user| user.key.user_id.as_str()).collect::<Vec<_>>())
        .bind(users.iter().map(|user| user.set_at.as_millis()).collect::<Vec<_>>())
        .bind(statements.history().keeps());
    counted(statements, &statements.run(&REMOVE_USERS, query).await?)
}

/// [`crate::store::Store::take_lease`].
pub(super) async fn take_lease(
    statements: &Statements,
    now: Timestamp,
    lease: &Lease,
) -> Result<bool, StoreError> {
    let query = statements
        .query(&TAKE_LEASE)
        .bind(lease.name)
        .bind(lease.owner)
        .bind(now.as_millis())
        .bind((now + lease.duration).as_millis());
    Ok(!statements.run(&TAKE_LEASE, query).await?.rows.is_empty())
}
