//! Parts that several statements share.

use sqlx::{Postgres, postgres::PgArguments, postgres::PgRow, query::Query};

use super::statement::{Statements, column};
use crate::{
    presence::Timestamp,
    store::{
        SessionKey, SetSession, StoreError, UserKey, rows::Row, rows::parse_stored, rows::required, sql::Sql,
    },
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

/// Returns a statement whose first parameters are the columns of the sessions.
pub(super) fn bind_sessions<'q>(
    statements: &Statements,
    sql: &'static Sql,
    now: Timestamp,
    sets: &[&'q SetSession],
) -> Query<'q, Postgres, PgArguments> {
    bind_keys(statements, sql, sets.iter().map(|set| &set.key))
        .bind(sets.iter().map(|set| <&str>::from(set.pair.availability)).collect::<Vec<_>>())
        .bind(sets.iter().map(|set| <&str>::from(set.pair.activity)).collect::<Vec<_>>())
        .bind(sets.iter().map(|set| (now + set.expires_after).as_millis()).collect::<Vec<_>>())
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
