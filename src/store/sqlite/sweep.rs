//! The statements that remove what ended long ago.

use sqlx::Sqlite;

use super::session_key;
use crate::{
    presence::Timestamp,
    store::{Bite, SessionKey, StoreError, connection::ConnectionPool, connection::limit},
};

pub(super) const BITE_END: &str = "
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

pub(super) async fn bite_end(
    pool: &ConnectionPool<Sqlite>,
    after: Option<&SessionKey>,
    rows: u32,
) -> Result<Option<SessionKey>, StoreError> {
    let mut connection = pool.acquire().await?;
    let (tenant_id, user_id, session_id) = Bite::first(after);
    let statement = sqlx::query(BITE_END)
        .bind(tenant_id.to_string())
        .bind(user_id)
        .bind(session_id)
        .bind(i64::from(rows.saturating_sub(1)));
    let outcome = limit(statement.fetch_optional(&mut *connection)).await;
    let Some(row) = pool.settle(connection, "bite_end", outcome)? else { return Ok(None) };
    session_key(&row).map(Some)
}

pub(super) async fn remove_ended(
    pool: &ConnectionPool<Sqlite>,
    before: Timestamp,
    bite: &Bite,
) -> Result<u64, StoreError> {
    let mut connection = pool.acquire().await?;
    let (first, last) = (Bite::first(bite.after.as_ref()), Bite::last(bite.through.as_ref()));
    let statement = sqlx::query(REMOVE)
        .bind(first.0.to_string())
        .bind(first.1)
        .bind(first.2)
        .bind(last.0.to_string())
        .bind(last.1)
        .bind(last.2)
        .bind(before.as_millis());
    let outcome = limit(statement.execute(&mut *connection)).await;
    Ok(pool.settle(connection, "remove_ended", outcome)?.rows_affected())
}
