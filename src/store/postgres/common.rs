//! Parts that several statements share.

use sqlx::{Postgres, postgres::PgArguments, postgres::PgRow, query::Query};
use uuid::Uuid;

use super::statement::{Statements, column};
use crate::store::{
    SessionKey, StoreError, UserKey, rows::Row, rows::required, rows::stored_session_id,
    rows::stored_user_id, sql::Sql,
};

/// The channel of `pg_notify`. A payload is a user, `TENANT USER`.
pub(super) const CHANNEL: &str = "presence_changes";

/// Returns a statement whose first parameters are the columns of the keys.
pub(super) fn bind_keys<'q>(
    statements: &Statements,
    sql: &'static Sql,
    keys: impl Iterator<Item = &'q SessionKey> + Clone,
) -> Query<'q, Postgres, PgArguments> {
    statements
        .query(sql)
        .bind(keys.clone().map(|key| key.user.tenant_id).collect::<Vec<_>>())
        .bind(keys.clone().map(|key| key.user.user_id.as_str()).collect::<Vec<_>>())
        .bind(keys.map(|key| key.session_id.as_str()).collect::<Vec<_>>())
}

/// The column of the session id in the rows of a write of sessions.
const SESSION_ID: usize = 5;

/// Returns the rows of the sessions that a statement wrote. Their columns 0, 1 and [`SESSION_ID`] are
/// the key, 2 is whether replicas must be notified, 3 whether it appended a span, and 4 whether it was
/// on time.
pub(super) fn written_rows(
    statements: &Statements,
    sql: &Sql,
    mut rows: Vec<PgRow>,
) -> Result<Vec<PgRow>, StoreError> {
    if let [row] = rows.as_slice() {
        if !column::<bool>(row, 4)? {
            return Err(statements.late(sql));
        }
        // If it wrote no session, its only row has no key.
        if row.text(1)?.is_none() {
            rows.clear();
        }
    }
    Ok(rows)
}

/// The key of a session that a statement wrote.
pub(super) fn written_key(row: &PgRow) -> Result<SessionKey, StoreError> {
    session_key(row, SESSION_ID)
}

/// Decodes a user's key from the first two columns.
pub(super) fn user_key(row: &PgRow) -> Result<UserKey, StoreError> {
    Ok(UserKey { tenant_id: column(row, 0)?, user_id: stored_user_id(required(row.text(1)?)?)? })
}

/// Decodes a session's key from the first two columns and the one of the session id.
pub(super) fn session_key(row: &PgRow, session_id: usize) -> Result<SessionKey, StoreError> {
    Ok(SessionKey { user: user_key(row)?, session_id: stored_session_id(required(row.text(session_id)?)?)? })
}

impl Row for PgRow {
    fn text(&self, index: usize) -> Result<Option<&str>, StoreError> {
        column(self, index)
    }

    fn integer(&self, index: usize) -> Result<Option<i64>, StoreError> {
        column(self, index)
    }

    fn id(&self, index: usize) -> Result<Option<Uuid>, StoreError> {
        column(self, index)
    }
}
