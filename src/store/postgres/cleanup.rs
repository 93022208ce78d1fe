//! Removing sessions that ended before the retention time.

use sqlx::Row as _;

use super::{statement::Statements, timestamptz::Timestamptz};
use crate::{
    presence::Timestamp,
    store::{Chunk, SessionKey, StoreError, UserKey, rows::parse_stored},
};

pub(super) const CHUNK_END: &str = "
select tenant_id, user_id, session_id
from presence_sessions
where (tenant_id, user_id, session_id) > ($1, $2, $3)
order by tenant_id, user_id, session_id
offset $4
limit 1";

/// Skips rows that a set has locked, so neither waits for the other. The delete repeats the
/// condition on the target row. That is redundant while `ended` locks the rows, but must stay
/// if the lock is ever removed.
pub(super) const REMOVE: &str = "
with ended as materialized (
    select tenant_id, user_id, session_id
    from presence_sessions
    where (tenant_id, user_id, session_id) > ($1, $2, $3)
      and (tenant_id, user_id, session_id) <= ($4, $5, $6)
      and (cleared_at <= $7 or expires_at <= $7)
    for update skip locked
)
delete from presence_sessions as s
using ended
where s.tenant_id = ended.tenant_id
  and s.user_id = ended.user_id
  and s.session_id = ended.session_id
  and (s.cleared_at <= $7 or s.expires_at <= $7)";

/// [`crate::store::Store::chunk_end`].
pub(super) async fn chunk_end(
    statements: &Statements,
    after: Option<&SessionKey>,
    rows: u32,
) -> Result<Option<SessionKey>, StoreError> {
    let (tenant_id, user_id, session_id) = Chunk::lower_bound(after);
    let statement = sqlx::query(CHUNK_END)
        .bind(tenant_id)
        .bind(user_id)
        .bind(session_id)
        .bind(i64::from(rows.saturating_sub(1)));
    let result = statements.run("chunk_end", statement).await?;
    let Some(row) = result.rows.first() else { return Ok(None) };
    let user = UserKey { tenant_id: row.try_get(0)?, user_id: parse_stored(row.try_get(1)?)? };
    Ok(Some(SessionKey { user, session_id: parse_stored(row.try_get(2)?)? }))
}

/// [`crate::store::Store::remove_ended`].
pub(super) async fn remove_ended(
    statements: &Statements,
    before: Timestamp,
    chunk: &Chunk,
) -> Result<u64, StoreError> {
    let (first, last) =
        (Chunk::lower_bound(chunk.after.as_ref()), Chunk::upper_bound(chunk.through.as_ref()));
    let statement = sqlx::query(REMOVE)
        .bind(first.0)
        .bind(first.1)
        .bind(first.2)
        .bind(last.0)
        .bind(last.1)
        .bind(last.2)
        .bind(Timestamptz(before));
    Ok(statements.run("remove_ended", statement).await?.affected)
}
