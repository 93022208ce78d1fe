//! Removing the sessions for which a user has no room.

use sqlx::postgres::PgRow;
use tracing::debug;
use uuid::Uuid;

use super::{cleanup, common::session_key, statement::Statements};
use crate::{
    presence::Timestamp,
    store::{
        SessionRow, StoreError, UserKey, keys,
        rows::Row,
        rows::required,
        sql::{Sql, sql},
    },
};

pub(super) const EXCESS_SESSIONS: Sql = sql!("excess_sessions");
const EXCESS_SESSIONS_DISTRIBUTED: Sql = sql!("excess_sessions_distributed");

/// Makes room for the sessions that `users` opened. A failure is not that of the set, which has
/// committed: the next opening makes room.
pub(super) async fn make(statements: &Statements, now: Timestamp, users: &[UserKey]) {
    for (tenant_id, user_ids) in keys::by_tenant(users) {
        let removed = async {
            let excess = excess(statements, now, tenant_id, &user_ids).await?;
            cleanup::remove_sessions(statements, now, &excess).await
        };
        if let Err(error) = removed.await {
            debug!(%error, "sessions beyond the limit were not removed");
        }
    }
}

/// Returns the sessions of these users that are beyond the limit.
pub(super) async fn excess(
    statements: &Statements,
    now: Timestamp,
    tenant_id: Uuid,
    user_ids: &[&str],
) -> Result<Vec<SessionRow>, StoreError> {
    let sql = if statements.is_distributed() { &EXCESS_SESSIONS_DISTRIBUTED } else { &EXCESS_SESSIONS };
    let query = statements.query(sql).bind(tenant_id).bind(user_ids).bind(now.as_millis());
    let decode = |row: &PgRow| {
        Ok(SessionRow { key: session_key(row, 2)?, set_at: required(row.time(3)?)?, unused_from: Some(now) })
    };
    statements.run(sql, query).await?.rows.iter().map(decode).collect()
}
