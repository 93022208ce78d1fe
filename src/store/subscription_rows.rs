//! Encoding and decoding subscriptions, the same for every engine.

use super::{
    StoreError,
    rows::{Row, author, required},
    subscriptions::{Authorized, SigningKeyRow, Subscription, SubscriptionKey, SubscriptionRequest},
};

/// Encodes a request as the columns `request` and `signing_keys`.
pub(super) fn request_columns(request: &SubscriptionRequest) -> Result<(String, String), StoreError> {
    let data = |error: serde_json::Error| StoreError::Data(error.to_string());
    let signing_keys = serde_json::to_string(&request.signing_keys).map_err(data)?;
    Ok((serde_json::to_string(request).map_err(data)?, signing_keys))
}

/// Decodes a subscription from the columns that every statement returns in this order.
pub(super) fn subscription<R: Row>(row: &R) -> Result<Subscription, StoreError> {
    // The error of serde could repeat a secret.
    let invalid = |_| StoreError::Data("a stored subscription is invalid JSON".to_owned());
    let mut request: SubscriptionRequest = serde_json::from_str(required(row.text(4)?)?).map_err(invalid)?;
    request.signing_keys = serde_json::from_str(required(row.text(5)?)?).map_err(invalid)?;
    let (at, until, sent_for) = (row.time(8)?, row.time(9)?, row.time(10)?);
    let authorized =
        at.zip(until).map(|(at, until)| Authorized { at, until, reauthorization_sent: sent_for == Some(at) });
    Ok(Subscription {
        key: SubscriptionKey { tenant_id: required(row.id(0)?)?, subscription_id: required(row.id(1)?)? },
        created_by: author(row.text(2)?, row.text(3)?)?,
        request,
        created_at: required(row.time(6)?)?,
        expires_at: required(row.time(7)?)?,
        authorized,
        delivered_through: required(row.time(11)?)?,
        generation: required(row.integer(12)?)?.unsigned_abs(),
        failing_since: row.time(13)?,
        last_error: row.text(14)?.map(ToOwned::to_owned),
    })
}

/// Decodes subscriptions, and sorts them by key.
pub(super) fn sorted<R: Row>(rows: &[R]) -> Result<Vec<Subscription>, StoreError> {
    let mut subscriptions = rows.iter().map(subscription).collect::<Result<Vec<_>, _>>()?;
    subscriptions.sort_unstable_by_key(|subscription| subscription.key);
    Ok(subscriptions)
}

/// Decodes a signing key.
pub(super) fn signing_key<R: Row>(row: &R) -> Result<SigningKeyRow, StoreError> {
    Ok(SigningKeyRow {
        key_id: required(row.text(0)?)?.to_owned(),
        private_key: required(row.text(1)?)?.to_owned(),
        created_at: required(row.time(2)?)?,
    })
}
