//! Opening and refreshing sessions.

use sqlx::Sqlite;

use super::common::{SessionColumns, json};
use crate::{
    presence::Timestamp,
    store::{
        SetSession, StoreError,
        connection::{ConnectionPool, with_timeout},
        invalidation::{Notifier, parse_user},
        keys,
        rows::Row,
        sql::{Sql, sql},
    },
};

const SET_SESSION: Sql = sql!("set_session");
const SET_SESSIONS: Sql = sql!("set_sessions");

/// [`crate::store::Store::set_sessions`].
pub(super) async fn set_sessions(
    writer: &ConnectionPool<Sqlite>,
    notifier: &Notifier,
    now: Timestamp,
    sets: &[SetSession],
) -> Result<(), StoreError> {
    let sets = keys::last_of_each(sets);
    let mut connection = writer.acquire().await?;
    // The statement returns a row for each session, so it does so only for watchers.
    let was_on = notifier.is_on();
    let text = |sql: &Sql| if was_on { sql.text } else { sql.without_returning() };
    let query = match sets.as_slice() {
        [set] => SessionColumns::new(now, set).bind(sqlx::query(text(&SET_SESSION))),
        sets => {
            let rows: Vec<_> = sets.iter().map(|set| SessionColumns::new(now, set)).collect();
            sqlx::query(text(&SET_SESSIONS)).bind(json(&rows)?)
        }
    };
    let outcome = with_timeout(query.bind(now.as_millis()).fetch_all(&mut *connection)).await;
    let changed = writer.release(connection, SET_SESSIONS.name, outcome);
    notifier.notify(|| match &changed {
        Ok(rows) if was_on => {
            let users = rows.iter().filter_map(|row| row.text(0).ok().flatten());
            users.filter_map(parse_user).collect()
        }
        // Invalidations were turned on meanwhile, or the failed statement may still have been
        // applied.
        _ => sets.iter().map(|set| set.key.user.clone()).collect(),
    });
    changed.map(drop)
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
