//! Removing sessions that ended before the retention time.

use sqlx::Sqlite;

use super::common::session_key;
use crate::{
    presence::Timestamp,
    store::{Chunk, SessionKey, StoreError, connection::ConnectionPool, connection::with_timeout},
};

pub(super) const CHUNK_END: &str = "
select tenant_id, user_id, session_id
from presence_sessions
where (tenant_id, user_id, session_id) > (?1, ?2, ?3)
order by tenant_id, user_id, session_id
limit 1
offset ?4";

pub(super) const REMOVE: &str = "
delete from presence_sessions
where (tenant_id, user_id, session_id) > (?1, ?2, ?3)
  and (tenant_id, user_id, session_id) <= (?4, ?5, ?6)
  and (cleared_at <= ?7 or expires_at <= ?7)";

/// [`crate::store::Store::chunk_end`].
pub(super) async fn chunk_end(
    pool: &ConnectionPool<Sqlite>,
    after: Option<&SessionKey>,
    rows: u32,
) -> Result<Option<SessionKey>, StoreError> {
    let mut connection = pool.acquire().await?;
    let (tenant_id, user_id, session_id) = Chunk::lower_bound(after);
    let statement = sqlx::query(CHUNK_END)
        .bind(tenant_id.to_string())
        .bind(user_id)
        .bind(session_id)
        .bind(i64::from(rows.saturating_sub(1)));
    let outcome = with_timeout(statement.fetch_optional(&mut *connection)).await;
    let Some(row) = pool.release(connection, "chunk_end", outcome)? else { return Ok(None) };
    session_key(&row).map(Some)
}

/// [`crate::store::Store::remove_ended`].
pub(super) async fn remove_ended(
    pool: &ConnectionPool<Sqlite>,
    before: Timestamp,
    chunk: &Chunk,
) -> Result<u64, StoreError> {
    let mut connection = pool.acquire().await?;
    let (first, last) =
        (Chunk::lower_bound(chunk.after.as_ref()), Chunk::upper_bound(chunk.through.as_ref()));
    let statement = sqlx::query(REMOVE)
        .bind(first.0.to_string())
        .bind(first.1)
        .bind(first.2)
        .bind(last.0.to_string())
        .bind(last.1)
        .bind(last.2)
        .bind(before.as_millis());
    let outcome = with_timeout(statement.execute(&mut *connection)).await;
    Ok(pool.release(connection, "remove_ended", outcome)?.rows_affected())
}
