//! Reading and removing rows that are no longer needed, and the lease of that task.

use sqlx::{
    Sqlite,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::common::{json, session_key, user_key};
use crate::{
    presence::Timestamp,
    store::{
        Lease, SessionKey, SessionRow, StoreError, UserKey, UserRow,
        connection::{ConnectionPool, with_timeout},
        first_key,
        rows::{Row, required},
        sql::{Sql, sql},
    },
};

const SCAN_SESSIONS: Sql = sql!("scan_sessions");
pub(super) const REMOVE_SESSIONS: Sql = sql!("remove_sessions");
const SCAN_USERS: Sql = sql!("scan_users");
const REMOVE_USERS: Sql = sql!("remove_users");
const TAKE_LEASE: Sql = sql!("take_lease");

/// Runs a statement, and returns its rows.
pub(super) async fn rows(
    pool: &ConnectionPool<Sqlite>,
    sql: &Sql,
    query: Query<'_, Sqlite, SqliteArguments>,
) -> Result<Vec<SqliteRow>, StoreError> {
    let mut connection = pool.acquire().await?;
    let outcome = with_timeout(query.fetch_all(&mut *connection)).await;
    pool.release(connection, sql.name, outcome)
}

/// Runs a statement that returns no rows. Returns the number of rows that it wrote.
pub(super) async fn affected(
    pool: &ConnectionPool<Sqlite>,
    sql: &Sql,
    query: Query<'_, Sqlite, SqliteArguments>,
) -> Result<u64, StoreError> {
    let mut connection = pool.acquire().await?;
    let outcome = with_timeout(query.execute(&mut *connection)).await;
    Ok(pool.release(connection, sql.name, outcome)?.rows_affected())
}

/// [`crate::store::Store::scan_sessions`].
pub(super) async fn scan_sessions(
    readers: &ConnectionPool<Sqlite>,
    now: Timestamp,
    after: Option<&SessionKey>,
    limit: u32,
) -> Result<Vec<SessionRow>, StoreError> {
    let (tenant_id, user_id) = first_key(after.map(|key| &key.user));
    let query = sqlx::query(SCAN_SESSIONS.text)
        .bind(tenant_id.to_string())
        .bind(user_id)
        .bind(after.map_or("", |key| key.session_id.as_str()))
        .bind(i64::from(limit))
        .bind(now.as_millis());
    let decode = |row| {
        Ok(SessionRow { key: session_key(row)?, set_at: required(row.time(3)?)?, unused_from: row.time(4)? })
    };
    rows(readers, &SCAN_SESSIONS, query).await?.iter().map(decode).collect()
}

/// [`crate::store::Store::remove_sessions`].
pub(super) async fn remove_sessions(
    writer: &ConnectionPool<Sqlite>,
    sessions: &[SessionRow],
) -> Result<u64, StoreError> {
    let query = sqlx::query(REMOVE_SESSIONS.text).bind(removal_columns(sessions)?);
    affected(writer, &REMOVE_SESSIONS, query).await
}

/// The parameter of [`REMOVE_SESSIONS`].
pub(super) fn removal_columns(sessions: &[SessionRow]) -> Result<String, StoreError> {
    let columns = |row: &SessionRow| {
        let SessionKey { user, session_id } = &row.key;
        let key = (user.tenant_id.to_string(), user.user_id.to_string(), session_id.to_string());
        (key.0, key.1, key.2, row.set_at.as_millis())
    };
    json(&sessions.iter().map(columns).collect::<Vec<_>>())
}

/// [`crate::store::Store::scan_users`].
pub(super) async fn scan_users(
    readers: &ConnectionPool<Sqlite>,
    now: Timestamp,
    after: Option<&UserKey>,
    limit: u32,
) -> Result<Vec<UserRow>, StoreError> {
    let (tenant_id, user_id) = first_key(after);
    let query = sqlx::query(SCAN_USERS.text)
        .bind(tenant_id.to_string())
        .bind(user_id)
        .bind(i64::from(limit))
        .bind(now.as_millis());
    let decode =
        |row| Ok(UserRow { key: user_key(row)?, set_at: required(row.time(2)?)?, unused_from: row.time(3)? });
    rows(readers, &SCAN_USERS, query).await?.iter().map(decode).collect()
}

/// [`crate::store::Store::remove_users`].
pub(super) async fn remove_users(
    writer: &ConnectionPool<Sqlite>,
    users: &[UserRow],
) -> Result<u64, StoreError> {
    let columns =
        |row: &UserRow| (row.key.tenant_id.to_string(), row.key.user_id.to_string(), row.set_at.as_millis());
    let rows = json(&users.iter().map(columns).collect::<Vec<_>>())?;
    affected(writer, &REMOVE_USERS, sqlx::query(REMOVE_USERS.text).bind(rows)).await
}

/// [`crate::store::Store::take_lease`].
pub(super) async fn take_lease(
    writer: &ConnectionPool<Sqlite>,
    now: Timestamp,
    lease: &Lease,
) -> Result<bool, StoreError> {
    let query = sqlx::query(TAKE_LEASE.text)
        .bind(lease.name)
        .bind(lease.owner.to_string())
        .bind(now.as_millis())
        .bind((now + lease.duration).as_millis());
    Ok(!rows(writer, &TAKE_LEASE, query).await?.is_empty())
}
