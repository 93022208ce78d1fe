//! Ending sessions.

use std::collections::HashMap;

use sqlx::{Row as _, Sqlite, sqlite::SqliteRow};

use super::{
    common::{changed_users, json, session_key},
    room::{self, Room},
};
use crate::{
    presence::Timestamp,
    store::{
        ClearOutcome, ClearSession, SessionKey, StoreError, author_columns,
        connection::{ConnectionPool, with_timeout},
        keys::{self, Newest},
        sql::{Sql, sql},
    },
};

const CLEAR_SESSION: Sql = sql!("clear_session");
const CLEAR_SESSIONS: Sql = sql!("clear_sessions");

/// [`crate::store::Store::clear_sessions`].
pub(super) async fn clear_sessions(
    writer: &ConnectionPool<Sqlite>,
    room: &Room,
    now: Timestamp,
    clears: &[ClearSession],
) -> Result<Vec<ClearOutcome>, StoreError> {
    let newest = keys::newest_of_each(now, clears);
    let rows: Vec<_> = newest
        .iter()
        .map(|Newest { write: ClearSession { key, cleared_by, holder, .. }, observed, .. }| {
            let (application, user) = author_columns(cleared_by);
            let tenant_id = key.user.tenant_id.to_string();
            let (user_id, session_id) = (key.user.user_id.as_str(), key.session_id.as_str());
            let holder = holder.map(|holder| holder.to_string());
            (tenant_id, user_id, session_id, application, user, observed.column(), holder)
        })
        .collect();
    let query = match rows.as_slice() {
        [(tenant_id, user_id, session_id, application, user, observed_at, holder)] => {
            let query = sqlx::query(CLEAR_SESSION.text).bind(tenant_id).bind(*user_id).bind(*session_id);
            query.bind(*application).bind(*user).bind(*observed_at).bind(holder)
        }
        rows => sqlx::query(CLEAR_SESSIONS.text).bind(json(rows)?),
    };
    let mut connection = writer.acquire().await?;
    let outcome = with_timeout(query.bind(now.as_millis()).fetch_all(&mut *connection)).await;
    room::after_write(room, &mut connection, &outcome, now, clears.iter().map(|clear| &clear.key)).await;
    let rows = writer.release(connection, CLEAR_SESSIONS.name, outcome);
    let written: Result<Vec<_>, _> = rows.and_then(|rows| rows.iter().map(decode).collect());
    room.notifier.notify(|| match &written {
        Ok(written) => changed_users(written.iter().map(|(key, _, changed)| (key, *changed))),
        // The failed statement may still have been applied.
        Err(_) => clears.iter().map(|clear| clear.key.user.clone()).collect(),
    });
    let written: HashMap<_, _> = written?.into_iter().map(|(key, ended, _)| (key, ended)).collect();
    Ok(keys::clear_outcomes(clears, &newest, &written))
}

/// Decodes a session that was written: whether it was live, and whether replicas must be notified.
fn decode(row: &SqliteRow) -> Result<(SessionKey, bool, bool), StoreError> {
    Ok((session_key(row)?, row.try_get(3)?, row.try_get(4)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_statements_do_the_same() {
        let conflict = |sql: &Sql| sql.text.rsplit_once("\non conflict").map(|(_, text)| text);
        assert_eq!(conflict(&CLEAR_SESSION), conflict(&CLEAR_SESSIONS));
        assert!(conflict(&CLEAR_SESSION).is_some());
    }
}
