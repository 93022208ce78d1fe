//! The keys that sign tokens in notifications.

use sqlx::Sqlite;

use super::cleanup::{affected, rows};
use crate::{
    presence::Timestamp,
    store::{
        SigningKeyRow, StoreError,
        connection::ConnectionPool,
        sql::{Sql, sql},
        subscription_rows::signing_key,
    },
};

const SIGNING_KEYS: Sql = sql!("signing_keys");
const ADD_SIGNING_KEY: Sql = sql!("add_signing_key");
const REMOVE_SIGNING_KEYS: Sql = sql!("remove_signing_keys");

/// [`crate::store::SubscriptionStore::signing_keys`].
pub(super) async fn signing_keys(readers: &ConnectionPool<Sqlite>) -> Result<Vec<SigningKeyRow>, StoreError> {
    rows(readers, &SIGNING_KEYS, sqlx::query(SIGNING_KEYS.text)).await?.iter().map(signing_key).collect()
}

/// [`crate::store::SubscriptionStore::add_signing_key`].
pub(super) async fn add_signing_key(
    writer: &ConnectionPool<Sqlite>,
    key: &SigningKeyRow,
    unless_newer_than: Timestamp,
) -> Result<bool, StoreError> {
    let query = sqlx::query(ADD_SIGNING_KEY.text)
        .bind(&key.key_id)
        .bind(&key.private_key)
        .bind(key.created_at.as_millis())
        .bind(unless_newer_than.as_millis());
    Ok(affected(writer, &ADD_SIGNING_KEY, query).await? > 0)
}

/// [`crate::store::SubscriptionStore::remove_signing_keys`].
pub(super) async fn remove_signing_keys(
    writer: &ConnectionPool<Sqlite>,
    made_before: Timestamp,
) -> Result<u64, StoreError> {
    let query = sqlx::query(REMOVE_SIGNING_KEYS.text).bind(made_before.as_millis());
    affected(writer, &REMOVE_SIGNING_KEYS, query).await
}
