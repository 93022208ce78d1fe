//! Extending held sessions.

use std::collections::HashSet;

use sqlx::{Row as _, Sqlite, sqlite::SqliteRow};

use super::common::{session_key, sessions};
use crate::{
    presence::{Pair, Timestamp},
    store::{
        SessionKey, SetSession, StoreError,
        connection::{ConnectionPool, with_timeout},
        invalidation::Notifier,
        keys,
        rows::parse_stored,
    },
};

/// Another caller that clears the session or sets another pair ends the hold.
pub(super) const EXTEND_SESSIONS: &str = "
update presence_sessions as s
set set_at     = max(s.set_at, ?2),
    expires_at = max(s.expires_at, held.value ->> 6),
    changed_at = case
        when s.expires_at <= ?2
          or (s.availability = 'Available' and s.set_at + 5 * 60 * 1000 <= ?2)
        then max(?2, s.changed_at + 1)
        else s.changed_at
    end
from json_each(?1) as held
where s.tenant_id = held.value ->> 0
  and s.user_id = held.value ->> 1
  and s.session_id = held.value ->> 2
  and s.availability = held.value ->> 3
  and s.activity = held.value ->> 4
  and s.cleared_at is null
returning tenant_id, user_id, session_id, availability, activity, changed_at >= set_at";

/// [`crate::store::Store::extend_sessions`].
pub(super) async fn extend_sessions(
    writer: &ConnectionPool<Sqlite>,
    notifier: &Notifier,
    now: Timestamp,
    held: &[SetSession],
) -> Result<Vec<bool>, StoreError> {
    let longest = keys::longest_of_each(held);
    let mut connection = writer.acquire().await?;
    let statement = sqlx::query(EXTEND_SESSIONS).bind(sessions(now, &longest)?).bind(now.as_millis());
    let outcome = with_timeout(statement.fetch_all(&mut *connection)).await;
    let rows = writer.release(connection, "extend_sessions", outcome);
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
    let pair = Pair::new(parse_stored(row.try_get(3)?)?, parse_stored(row.try_get(4)?)?);
    Ok((session_key(row)?, pair, row.try_get(5)?))
}
