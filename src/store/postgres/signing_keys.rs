//! The keys that sign tokens in notifications.

use super::statement::Statements;
use crate::{
    presence::Timestamp,
    store::{
        SigningKeyRow, StoreError,
        sql::{Sql, sql},
        subscription_rows::signing_key,
    },
};

pub(super) const SIGNING_KEYS: Sql = sql!("signing_keys");
pub(super) const ADD_SIGNING_KEY: Sql = sql!("add_signing_key");
pub(super) const REMOVE_SIGNING_KEYS: Sql = sql!("remove_signing_keys");

/// [`crate::store::SubscriptionStore::signing_keys`].
pub(super) async fn signing_keys(statements: &Statements) -> Result<Vec<SigningKeyRow>, StoreError> {
    let rows = statements.run(&SIGNING_KEYS, statements.query(&SIGNING_KEYS)).await?.rows;
    rows.iter().map(signing_key).collect()
}

/// [`crate::store::SubscriptionStore::add_signing_key`].
pub(super) async fn add_signing_key(
    statements: &Statements,
    key: &SigningKeyRow,
    unless_newer_than: Timestamp,
) -> Result<bool, StoreError> {
    let query = statements
        .query(&ADD_SIGNING_KEY)
        .bind(&key.key_id)
        .bind(&key.private_key)
        .bind(key.created_at.as_millis())
        .bind(unless_newer_than.as_millis());
    Ok(statements.run(&ADD_SIGNING_KEY, query).await?.affected > 0)
}

/// [`crate::store::SubscriptionStore::remove_signing_keys`].
pub(super) async fn remove_signing_keys(
    statements: &Statements,
    made_before: Timestamp,
) -> Result<u64, StoreError> {
    let query = statements.query(&REMOVE_SIGNING_KEYS).bind(made_before.as_millis());
    Ok(statements.run(&REMOVE_SIGNING_KEYS, query).await?.affected)
}
