//! Parameters and columns that several statements share.

use serde::Serialize;
use sqlx::{Row as _, sqlite::SqliteRow};

use crate::{
    presence::Timestamp,
    store::{SessionKey, SetSession, StoreError, UserKey, rows::parse_stored},
};

/// Encodes sessions as one parameter: for each the key, the pair, `set_at` and `expires_at`.
pub(super) fn sessions(now: Timestamp, sets: &[&SetSession]) -> Result<String, StoreError> {
    let rows: Vec<_> = sets
        .iter()
        .map(|SetSession { key, pair, expires_after }| {
            (
                key.user.tenant_id,
                key.user.user_id.as_str(),
                key.session_id.as_str(),
                <&str>::from(pair.availability),
                <&str>::from(pair.activity),
                now.as_millis(),
                (now + *expires_after).as_millis(),
            )
        })
        .collect();
    json(&rows)
}

/// Encodes rows as one parameter for `json_each`.
pub(super) fn json<T: Serialize>(rows: &[T]) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|error| StoreError::Data(error.to_string()))
}

/// Decodes a key from the first three columns.
pub(super) fn session_key(row: &SqliteRow) -> Result<SessionKey, StoreError> {
    Ok(SessionKey {
        user: UserKey { tenant_id: parse_stored(row.try_get(0)?)?, user_id: parse_stored(row.try_get(1)?)? },
        session_id: parse_stored(row.try_get(2)?)?,
    })
}
