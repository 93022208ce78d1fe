//! Making room for the sessions that a call opened.

use std::collections::HashSet;

use sqlx::postgres::PgRow;
use tracing::debug;
use uuid::Uuid;

use super::{cleanup, common::session_key, statement::Statements};
use crate::{
    presence::Timestamp,
    store::{
        SessionKey, SessionRow, StoreError, UserKey, keys,
        room::Crowded,
        rows::{Row, parse_stored, required},
        sql::{Sql, sql},
    },
};

pub(super) const CROWDED_SESSIONS: Sql = sql!("crowded_sessions");
const CROWDED_SESSIONS_DISTRIBUTED: Sql = sql!("crowded_sessions_distributed");
pub(super) const EVICT_SESSION: Sql = sql!("evict_session");

/// Makes room for the sessions that a call opened or marked. Returns those for which there was none. A
/// failure is not that of the call, which has committed: the next opening makes room.
pub(super) async fn make(
    statements: &Statements,
    now: Timestamp,
    opened: &[SessionKey],
) -> HashSet<SessionKey> {
    let (mut evicted, opened_keys) = (HashSet::new(), opened.iter().collect());
    let users: Vec<_> = opened.iter().map(|key| key.user.clone()).collect();
    for (tenant_id, user_ids) in keys::by_tenant(&users) {
        let made = async {
            let crowded = crowded(statements, now, tenant_id, &user_ids, &opened_keys).await?;
            for session in crowded.live {
                if evict(statements, now, &session).await? {
                    statements.evictions().note(&session.key);
                    evicted.insert(session.key);
                }
            }
            cleanup::remove_sessions(statements, now, &crowded.ended).await
        };
        if let Err(error) = made.await {
            debug!(%error, "no room was made for sessions beyond the limits");
        }
    }
    evicted
}

/// Returns the sessions of these users for which there is no room.
pub(super) async fn crowded(
    statements: &Statements,
    now: Timestamp,
    tenant_id: Uuid,
    user_ids: &[&str],
    opened: &HashSet<&SessionKey>,
) -> Result<Crowded, StoreError> {
    let sql = if statements.is_distributed() { &CROWDED_SESSIONS_DISTRIBUTED } else { &CROWDED_SESSIONS };
    let query = statements.query(sql).bind(tenant_id).bind(user_ids).bind(now.as_millis());
    let mut crowded = Crowded::default();
    for row in statements.run(sql, query).await?.rows {
        crowded.add(decode(&row, now)?, parse_stored(required(row.text(4)?)?)?, opened);
    }
    Ok(crowded)
}

fn decode(row: &PgRow, now: Timestamp) -> Result<SessionRow, StoreError> {
    Ok(SessionRow { key: session_key(row, 2)?, set_at: required(row.time(3)?)?, unused_from: Some(now) })
}

/// Clears a live session. Returns whether it did: not if the session was set since it was read.
pub(super) async fn evict(
    statements: &Statements,
    now: Timestamp,
    session: &SessionRow,
) -> Result<bool, StoreError> {
    let SessionKey { user: UserKey { tenant_id, user_id }, session_id } = &session.key;
    let query = statements
        .query(&EVICT_SESSION)
        .bind(tenant_id)
        .bind(user_id.as_str())
        .bind(session_id.as_str())
        .bind(session.set_at.as_millis())
        .bind(now.as_millis())
        .bind(statements.history().keeps());
    let rows = statements.run_notifying(&EVICT_SESSION, query, true).await?.rows;
    statements.count_appended(&rows, 3)?;
    Ok(!rows.is_empty())
}
