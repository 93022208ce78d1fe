//! Ending sessions.

use sqlx::Sqlite;

use super::common::{json, session_key};
use crate::{
    presence::Timestamp,
    store::{
        SessionKey, StoreError,
        connection::{ConnectionPool, with_timeout},
        invalidation::Notifier,
        keys,
        rows::at_position,
    },
};

pub(super) const CLEAR_SESSIONS: &str = "
update presence_sessions
set cleared_at = ?2
where (tenant_id, user_id, session_id) in (select value ->> 0, value ->> 1, value ->> 2 from json_each(?1))
  and cleared_at is null
  and expires_at > ?2
returning tenant_id, user_id, session_id";

/// [`crate::store::Store::clear_sessions`].
pub(super) async fn clear_sessions(
    writer: &ConnectionPool<Sqlite>,
    notifier: &Notifier,
    now: Timestamp,
    keys: &[SessionKey],
) -> Result<Vec<bool>, StoreError> {
    let distinct = keys::first_of_each(keys);
    let rows: Vec<_> = distinct
        .iter()
        .map(|(key, _)| (key.user.tenant_id, key.user.user_id.as_str(), key.session_id.as_str()))
        .collect();
    let mut connection = writer.acquire().await?;
    let statement = sqlx::query(CLEAR_SESSIONS).bind(json(&rows)?).bind(now.as_millis());
    let outcome = with_timeout(statement.fetch_all(&mut *connection)).await;
    let rows = writer.release(connection, "clear_sessions", outcome);
    let ended: Result<Vec<_>, _> = rows.and_then(|rows| rows.iter().map(session_key).collect());
    notifier.notify(|| match &ended {
        Ok(ended) => ended.iter().map(|key| key.user.clone()).collect(),
        // The failed statement may still have been applied.
        Err(_) => keys.iter().map(|key| key.user.clone()).collect(),
    });

    let mut results = vec![false; keys.len()];
    for ended in ended? {
        let found = distinct.binary_search_by(|(key, _)| (*key).cmp(&ended)).ok();
        let position = found.and_then(|index| distinct.get(index)).map(|(_, position)| *position);
        *at_position(&mut results, position)? = true;
    }
    Ok(results)
}
