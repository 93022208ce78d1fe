//! Ending sessions.

use sqlx::Sqlite;

use super::common::{json, session_key};
use crate::{
    presence::Timestamp,
    store::{
        ClearSession, StoreError, author_columns,
        connection::{ConnectionPool, with_timeout},
        invalidation::Notifier,
        keys,
        rows::at_position,
        sql::{Sql, sql},
    },
};

const CLEAR_SESSION: Sql = sql!("clear_session");
const CLEAR_SESSIONS: Sql = sql!("clear_sessions");

/// [`crate::store::Store::clear_sessions`].
pub(super) async fn clear_sessions(
    writer: &ConnectionPool<Sqlite>,
    notifier: &Notifier,
    now: Timestamp,
    clears: &[ClearSession],
) -> Result<Vec<bool>, StoreError> {
    let distinct = keys::first_of_each(clears);
    let rows: Vec<_> = distinct
        .iter()
        .map(|(ClearSession { key, cleared_by }, _)| {
            let (application, user) = author_columns(cleared_by);
            let tenant_id = key.user.tenant_id.to_string();
            (tenant_id, key.user.user_id.as_str(), key.session_id.as_str(), application, user)
        })
        .collect();
    let query = match rows.as_slice() {
        [(tenant_id, user_id, session_id, application, user)] => sqlx::query(CLEAR_SESSION.text)
            .bind(tenant_id)
            .bind(*user_id)
            .bind(*session_id)
            .bind(*application)
            .bind(*user),
        rows => sqlx::query(CLEAR_SESSIONS.text).bind(json(rows)?),
    };
    let mut connection = writer.acquire().await?;
    let outcome = with_timeout(query.bind(now.as_millis()).fetch_all(&mut *connection)).await;
    let rows = writer.release(connection, CLEAR_SESSIONS.name, outcome);
    let ended: Result<Vec<_>, _> = rows.and_then(|rows| rows.iter().map(session_key).collect());
    notifier.notify(|| match &ended {
        Ok(ended) => ended.iter().map(|key| key.user.clone()).collect(),
        // The failed statement may still have been applied.
        Err(_) => clears.iter().map(|clear| clear.key.user.clone()).collect(),
    });

    let mut results = vec![false; clears.len()];
    for ended in ended? {
        let found = distinct.binary_search_by(|(clear, _)| clear.key.cmp(&ended)).ok();
        let position = found.and_then(|index| distinct.get(index)).map(|(_, position)| *position);
        *at_position(&mut results, position)? = true;
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_statements_do_the_same() {
        let write = |sql: &Sql| {
            let (_, text) = sql.text.split_once("update presence_sessions")?;
            let (values, rest) = text.split_once("\nwhere ")?;
            let (values, _) = values.split_once("\nfrom ").unwrap_or((values, ""));
            let (_, condition) = rest.split_once("\n  and cleared_at")?;
            let text = format!("{values}{condition}").replace("?6", "?2");
            Some(text.replace("?4", "key.value ->> 3").replace("?5", "key.value ->> 4"))
        };
        assert_eq!(write(&CLEAR_SESSION), write(&CLEAR_SESSIONS));
        assert!(write(&CLEAR_SESSION).is_some());
    }
}
