//! Extending held sessions.

use std::collections::HashSet;

use sqlx::{Row as _, Sqlite, sqlite::SqliteRow};

use super::common::{SessionColumns, json, session_key};
use crate::{
    presence::{Pair, Timestamp},
    store::{
        SessionKey, SetSession, StoreError,
        connection::{ConnectionPool, with_timeout},
        invalidation::Notifier,
        keys,
        rows::{self, Row},
        sql::{Sql, sql},
    },
};

const EXTEND_SESSIONS: Sql = sql!("extend_sessions");

/// [`crate::store::Store::extend_sessions`].
pub(super) async fn extend_sessions(
    writer: &ConnectionPool<Sqlite>,
    notifier: &Notifier,
    now: Timestamp,
    held: &[SetSession],
) -> Result<Vec<bool>, StoreError> {
    let longest: Vec<_> =
        keys::longest_of_each(held).into_iter().flatten().map(|set| SessionColumns::new(now, set)).collect();
    let mut connection = writer.acquire().await?;
    let query = sqlx::query(EXTEND_SESSIONS.text).bind(json(&longest)?).bind(now.as_millis());
    let outcome = with_timeout(query.fetch_all(&mut *connection)).await;
    let rows = writer.release(connection, EXTEND_SESSIONS.name, outcome);
    let extended: Result<Vec<_>, _> = rows.and_then(|rows| rows.iter().map(decode).collect());
    notifier.notify(|| match &extended {
        Ok(extended) => {
            let changed = extended.iter().filter(|(.., changed)| *changed);
            changed.map(|(key, ..)| key.user.clone()).collect()
        }
        // The failed statement may still have been applied.
        Err(_) => held.iter().map(|set| set.key.user.clone()).collect(),
    });
    let extended = extended?;
    let extended: HashSet<_> = extended.iter().map(|(key, pair, _)| (key, *pair)).collect();
    Ok(held.iter().map(|set| extended.contains(&(&set.key, set.pair))).collect())
}

/// Decodes an extended session: its key, its pair, and whether watchers must be notified.
fn decode(row: &SqliteRow) -> Result<(SessionKey, Pair, bool), StoreError> {
    Ok((session_key(row)?, rows::pair(row.text(3)?, row.text(4)?)?, row.try_get(5)?))
}
