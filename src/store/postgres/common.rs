//! Parts that several statements share.

use sqlx::{Postgres, postgres::PgArguments, postgres::PgRow, query::Query};

use super::statement::{Statements, column};
use crate::{
    presence::Timestamp,
    store::{SessionKey, StoreError, UserKey, rows::Row, rows::parse_stored, rows::required, sql::Sql},
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

/// A session that a statement wrote, and the row that it returned.
pub(super) struct WrittenSession {
    pub(super) key: SessionKey,
    pub(super) row: PgRow,
}

/// Returns the sessions that a statement wrote, from its rows. Their columns 0, 1 and 5 are the key, 2
/// is whether replicas must be notified, 3 whether it appended a span, and 4 whether it was on time.
pub(super) fn written_sessions(
    statements: &Statements,
    sql: &Sql,
    rows: Vec<PgRow>,
) -> Result<Vec<WrittenSession>, StoreError> {
    let mut written = Vec::with_capacity(rows.len());
    for row in rows {
        if !column::<bool>(&row, 4)? {
            return Err(statements.late(sql));
        }
        // If it wrote no session, its row has no key.
        if row.text(1)?.is_some() {
            written.push(WrittenSession { key: session_key(&row, 5)?, row });
        }
    }
    Ok(written)
}

/// Decodes a user's key from the first two columns.
pub(super) fn user_key(row: &PgRow) -> Result<UserKey, StoreError> {
    Ok(UserKey { tenant_id: column(row, 0)?, user_id: parse_stored(required(row.text(1)?)?)? })
}

/// Decodes a session's key from the first two columns and the one of the session id.
pub(super) fn session_key(row: &PgRow, session_id: usize) -> Result<SessionKey, StoreError> {
    Ok(SessionKey { user: user_key(row)?, session_id: parse_stored(required(row.text(session_id)?)?)? })
}

impl Row for PgRow {
    fn text(&self, index: usize) -> Result<Option<&str>, StoreError> {
        column(self, index)
    }

    fn time(&self, index: usize) -> Result<Option<Timestamp>, StoreError> {
        Ok(column::<Option<i64>>(self, index)?.map(Timestamp::from_millis))
    }
}
