//! Opening and refreshing sessions.

use std::collections::HashSet;

use sqlx::{Row as _, Sqlite, sqlite::SqliteRow};

use super::{
    common::{SessionColumns, changed_users, json, session_key},
    room::{self, Room},
};
use crate::{
    presence::Timestamp,
    store::{
        SessionKey, SetOutcome, SetSession, StoreError,
        connection::{ConnectionPool, with_timeout},
        keys,
        sql::{Sql, sql},
    },
};

const SET_SESSION: Sql = sql!("set_session");
const SET_SESSIONS: Sql = sql!("set_sessions");

/// [`crate::store::Store::set_sessions`].
pub(super) async fn set_sessions(
    writer: &ConnectionPool<Sqlite>,
    room: &Room,
    now: Timestamp,
    sets: &[SetSession],
) -> Result<Vec<SetOutcome>, StoreError> {
    let newest = keys::newest_of_each(now, sets);
    let mut connection = writer.acquire().await?;
    // Rows cost time, so the statement returns them only where they are needed.
    let notifier = &room.notifier;
    let returns = notifier.is_on() || keys::may_be_stale(&newest);
    let text = |sql: &Sql| if returns { sql.text } else { sql.without_returning() };
    let query = match newest.as_slice() {
        [set] => SessionColumns::new(now, set).bind(sqlx::query(text(&SET_SESSION))),
        sets => {
            let rows: Vec<_> = sets.iter().map(|set| SessionColumns::new(now, set)).collect();
            sqlx::query(text(&SET_SESSIONS)).bind(json(&rows)?)
        }
    };
    let outcome = with_timeout(query.bind(now.as_millis()).fetch_all(&mut *connection)).await;
    let evicted =
        room::after_write(room, &mut connection, &outcome, now, sets.iter().map(|set| &set.key)).await;
    let rows = writer.release(connection, SET_SESSIONS.name, outcome);
    let written: Result<Vec<_>, _> = rows.and_then(|rows| rows.iter().map(decode).collect());
    notifier.notify(|| match &written {
        Ok(written) if returns => changed_users(written.iter().map(|(key, changed)| (key, *changed))),
        // Invalidations were turned on meanwhile, or the failed statement may still have been
        // applied.
        _ => sets.iter().map(|set| set.key.user.clone()).collect(),
    });
    let written = written?;
    if !returns {
        return Ok(keys::set_outcomes(sets, &newest, |_| true, &evicted));
    }
    let written: HashSet<_> = written.into_iter().map(|(key, _)| key).collect();
    Ok(keys::set_outcomes(sets, &newest, |key| written.contains(key), &evicted))
}

/// Decodes a session that was written, and whether replicas must be notified.
fn decode(row: &SqliteRow) -> Result<(SessionKey, bool), StoreError> {
    Ok((session_key(row)?, row.try_get(3)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_statements_do_the_same() {
        let conflict = |sql: &Sql| sql.text.rsplit_once("\non conflict").map(|(_, text)| text);
        assert_eq!(conflict(&SET_SESSION), conflict(&SET_SESSIONS));
        assert!(conflict(&SET_SESSION).is_some());
    }
}
