//! Making room for the sessions that a call opened.

use std::{collections::HashSet, sync::Arc};

use sqlx::{SqliteConnection, sqlite::SqliteRow};
use tokio::time::error::Elapsed;
use tracing::debug;

use super::{
    cleanup::{REMOVE_SESSIONS, removal_columns},
    common::{session_key, user_key},
};
use crate::{
    presence::Timestamp,
    store::{
        SessionKey, SessionRow, StoreError, UserKey,
        connection::with_timeout,
        invalidation::Notifier,
        room::{Crowded, Evictions},
        rows::{Row, parse_stored, required},
        sql::{Sql, sql},
    },
};

const CROWDED_SESSIONS: Sql = sql!("crowded_sessions");
const EVICT_SESSION: Sql = sql!("evict_session");
const TAKE_CROWDED_USERS: &str = "select distinct tenant_id, user_id from temp.crowded_users";
const FORGET_CROWDED_USERS: &str = "delete from temp.crowded_users";

/// Makes room after a write on the same connection, in the same way as on PostgreSQL.
#[derive(Clone, Debug)]
pub(in crate::store) struct Room {
    pub(in crate::store) evictions: Arc<Evictions>,
    pub(in crate::store) notifier: Notifier,
}

impl Room {
    /// Makes room for the sessions that a call set or marked. Adds those that it clears to `evicted`,
    /// also if a later step fails.
    async fn make<'a>(
        &self,
        connection: &mut SqliteConnection,
        now: Timestamp,
        set: impl Iterator<Item = &'a SessionKey>,
        evicted: &mut HashSet<SessionKey>,
    ) -> Result<(), StoreError> {
        let users = take_crowded_users(connection).await?;
        if users.is_empty() {
            return Ok(());
        }
        let set = set.collect();
        for user in users {
            let crowded = crowded(connection, now, &user, &set).await?;
            for SessionRow { key, set_at, .. } in crowded.live {
                if evict(connection, now, &key, set_at).await? {
                    self.evictions.note(&key);
                    self.notifier.notify(|| vec![key.user.clone()]);
                    evicted.insert(key);
                }
            }
            remove(connection, &crowded.ended).await?;
        }
        Ok(())
    }
}

/// Makes room after a write, if it succeeded. A failure is not that of the write, which has committed:
/// the next opening makes room.
pub(super) async fn after_write<'a, T>(
    room: &Room,
    connection: &mut SqliteConnection,
    outcome: &Result<Result<T, sqlx::Error>, Elapsed>,
    now: Timestamp,
    keys: impl Iterator<Item = &'a SessionKey>,
) -> HashSet<SessionKey> {
    let mut evicted = HashSet::new();
    if matches!(outcome, Ok(Ok(_))) {
        let made = with_timeout(room.make(connection, now, keys, &mut evicted)).await;
        let too_long = |_| Err(StoreError::Unavailable("making room took too long".to_owned()));
        if let Err(error) = made.unwrap_or_else(too_long) {
            debug!(%error, "no room was made for sessions beyond the limits");
        }
    }
    evicted
}

/// Returns the users that the triggers of `note_crowded_users.sql` noted.
async fn take_crowded_users(connection: &mut SqliteConnection) -> Result<Vec<UserKey>, StoreError> {
    let rows = sqlx::query(TAKE_CROWDED_USERS).fetch_all(&mut *connection).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query(FORGET_CROWDED_USERS).execute(connection).await?;
    rows.iter().map(user_key).collect()
}

async fn crowded(
    connection: &mut SqliteConnection,
    now: Timestamp,
    user: &UserKey,
    set: &HashSet<&SessionKey>,
) -> Result<Crowded, StoreError> {
    let query = sqlx::query(CROWDED_SESSIONS.text)
        .bind(user.tenant_id.to_string())
        .bind(user.user_id.as_str())
        .bind(now.as_millis());
    let mut crowded = Crowded::default();
    for row in query.fetch_all(connection).await? {
        crowded.add(decode(&row, now)?, parse_stored(required(row.text(4)?)?)?, set);
    }
    Ok(crowded)
}

fn decode(row: &SqliteRow, now: Timestamp) -> Result<SessionRow, StoreError> {
    Ok(SessionRow { key: session_key(row)?, set_at: required(row.time(3)?)?, unused_from: Some(now) })
}

/// Clears a live session. Returns whether it did: not if the session was set since it was read.
async fn evict(
    connection: &mut SqliteConnection,
    now: Timestamp,
    key: &SessionKey,
    set_at: Timestamp,
) -> Result<bool, StoreError> {
    let query = sqlx::query(EVICT_SESSION.text)
        .bind(key.user.tenant_id.to_string())
        .bind(key.user.user_id.as_str())
        .bind(key.session_id.as_str())
        .bind(set_at.as_millis())
        .bind(now.as_millis());
    Ok(query.execute(connection).await?.rows_affected() > 0)
}

async fn remove(connection: &mut SqliteConnection, ended: &[SessionRow]) -> Result<(), StoreError> {
    if !ended.is_empty() {
        sqlx::query(REMOVE_SESSIONS.text).bind(removal_columns(ended)?).execute(connection).await?;
    }
    Ok(())
}
