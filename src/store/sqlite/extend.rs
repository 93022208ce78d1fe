//! Extending and changing held sessions.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use sqlx::{Row as _, Sqlite, sqlite::SqliteRow};

use super::{
    cleanup,
    common::{changed_users, json, session_key},
};
use crate::{
    presence::Timestamp,
    store::{
        ExtendSession, Hold, SessionKey, StoreError, UserKey,
        connection::{ConnectionPool, with_timeout},
        invalidation::Notifier,
        keys,
        rows::{Row, required},
        sql::{Sql, sql},
    },
};

const EXTEND_SESSIONS: Sql = sql!("extend_sessions");
const CURRENT_HOLDS: Sql = sql!("current_holds");

/// A held session as an element of the parameter of the statement.
#[derive(Serialize)]
struct Columns<'a>(
    String,
    &'a str,
    &'a str,
    String,
    i64,
    Option<&'static str>,
    Option<&'static str>,
    i64,
    bool,
    Option<&'a str>,
);

impl<'a> Columns<'a> {
    fn new(now: Timestamp, extension: &'a ExtendSession) -> Self {
        let (observed_at, by_caller) = extension.observed_columns(now);
        let (availability, activity) = extension.pair_columns();
        Self(
            extension.key.user.tenant_id.to_string(),
            extension.key.user.user_id.as_str(),
            extension.key.session_id.as_str(),
            extension.holder.to_string(),
            (now + extension.expires_after).as_millis(),
            availability,
            activity,
            observed_at,
            by_caller,
            extension.message_column(),
        )
    }
}

/// [`crate::store::Store::extend_sessions`].
pub(super) async fn extend_sessions(
    writer: &ConnectionPool<Sqlite>,
    notifier: &Notifier,
    now: Timestamp,
    held: &[ExtendSession],
) -> Result<Vec<Option<Timestamp>>, StoreError> {
    let mut outcomes = vec![None; held.len()];
    for round in keys::rounds(held) {
        let columns: Vec<_> = round.iter().map(|(extension, _)| Columns::new(now, extension)).collect();
        let query = sqlx::query(EXTEND_SESSIONS.text).bind(json(&columns)?).bind(now.as_millis());
        let mut connection = writer.acquire().await?;
        let outcome = with_timeout(query.fetch_all(&mut *connection)).await;
        let rows = writer.release(connection, EXTEND_SESSIONS.name, outcome);
        let extended: Result<Vec<_>, _> = rows.and_then(|rows| rows.iter().map(decode).collect());
        notifier.notify(|| match &extended {
            Ok(extended) => changed_users(extended.iter().map(|((key, changed), _)| (key, *changed))),
            // The failed statement may still have been applied.
            Err(_) => round.iter().map(|(extension, _)| extension.key.user.clone()).collect(),
        });
        let extended: HashMap<_, _> = extended?.into_iter().map(|((key, _), at)| (key, at)).collect();
        keys::note_extended(&mut outcomes, &round, &extended);
    }
    Ok(outcomes)
}

/// Decodes an extended session: whether watchers must be notified, and its expiry.
fn decode(row: &SqliteRow) -> Result<((SessionKey, bool), Timestamp), StoreError> {
    Ok(((session_key(row)?, row.try_get(4)?), required(row.time(3)?)?))
}

/// [`crate::store::Store::current_holds`].
pub(super) async fn current_holds(
    readers: &ConnectionPool<Sqlite>,
    holds: &[Hold],
) -> Result<Vec<bool>, StoreError> {
    let columns = |hold: &Hold| {
        let UserKey { tenant_id, user_id } = &hold.user;
        (tenant_id.to_string(), user_id.to_string(), hold.holder.to_string())
    };
    let query = sqlx::query(CURRENT_HOLDS.text).bind(json(&holds.iter().map(columns).collect::<Vec<_>>())?);
    let rows = cleanup::rows(readers, &CURRENT_HOLDS, query).await?;
    let current: Result<HashSet<String>, _> = rows.iter().map(|row| row.try_get(0)).collect();
    let current = current?;
    Ok(holds.iter().map(|hold| current.contains(&hold.holder.to_string())).collect())
}
