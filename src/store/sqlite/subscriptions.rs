//! Subscriptions to change notifications.

use sqlx::Sqlite;
use uuid::Uuid;

use super::{
    cleanup::{affected, rows},
    common::json,
};
use crate::{
    presence::{SessionId, Timestamp},
    store::{
        ClaimSubscriptions, CreateOutcome, CreateSubscription, DeliveryReport, ListSubscriptions,
        ReleaseSubscriptions, StoreError, Subscription, SubscriptionKey, UpdateSubscription, author_columns,
        connection::ConnectionPool,
        rows::{Row, required},
        sql::{Sql, sql},
        subscription_rows::{request_columns, sorted, subscription as decode},
    },
};

const CREATE_SUBSCRIPTION: Sql = sql!("create_subscription");
const APPLICATION_SUBSCRIPTIONS: Sql = sql!("application_subscriptions");
const SUBSCRIPTION: Sql = sql!("subscription");
const SUBSCRIPTIONS: Sql = sql!("subscriptions");
const UPDATE_SUBSCRIPTION: Sql = sql!("update_subscription");
const DELETE_SUBSCRIPTION: Sql = sql!("delete_subscription");
const CLAIM_SUBSCRIPTIONS: Sql = sql!("claim_subscriptions");
const REMOVE_EXPIRED_SUBSCRIPTIONS: Sql = sql!("remove_expired_subscriptions");
/// For the doctor.
pub(super) const FAILING_SUBSCRIPTIONS: Sql = sql!("failing_subscriptions");

/// [`crate::store::SubscriptionStore::create_subscription`].
pub(super) async fn create_subscription(
    writer: &ConnectionPool<Sqlite>,
    now: Timestamp,
    create: &CreateSubscription,
) -> Result<CreateOutcome, StoreError> {
    let (application, user) = author_columns(&create.created_by);
    let (request, signing_keys) = request_columns(&create.request)?;
    let tenant_id = create.key.tenant_id.to_string();
    let query = sqlx::query(CREATE_SUBSCRIPTION.text)
        .bind(&tenant_id)
        .bind(create.key.subscription_id.to_string())
        .bind(application)
        .bind(user)
        .bind(request)
        .bind(signing_keys)
        .bind(now.as_millis())
        .bind(create.expires_at.as_millis())
        .bind(create.authorized_until.map(Timestamp::as_millis))
        .bind(i64::from(create.application_max))
        .bind(i64::from(create.tenant_max));
    if let Some(row) = rows(writer, &CREATE_SUBSCRIPTION, query).await?.first() {
        return Ok(CreateOutcome::Created(Box::new(decode(row)?)));
    }
    let query =
        sqlx::query(APPLICATION_SUBSCRIPTIONS.text).bind(&tenant_id).bind(application).bind(now.as_millis());
    let counted = rows(writer, &APPLICATION_SUBSCRIPTIONS, query).await?;
    let count = required(required(counted.first())?.integer(0)?)?;
    Ok(if count >= i64::from(create.application_max) {
        CreateOutcome::ApplicationFull
    } else {
        CreateOutcome::TenantFull
    })
}

/// [`crate::store::SubscriptionStore::subscription`].
pub(super) async fn subscription(
    readers: &ConnectionPool<Sqlite>,
    now: Timestamp,
    key: &SubscriptionKey,
) -> Result<Option<Subscription>, StoreError> {
    let query = sqlx::query(SUBSCRIPTION.text)
        .bind(key.tenant_id.to_string())
        .bind(key.subscription_id.to_string())
        .bind(now.as_millis());
    rows(readers, &SUBSCRIPTION, query).await?.first().map(decode).transpose()
}

/// [`crate::store::SubscriptionStore::subscriptions`].
pub(super) async fn subscriptions(
    readers: &ConnectionPool<Sqlite>,
    now: Timestamp,
    list: &ListSubscriptions,
) -> Result<Vec<Subscription>, StoreError> {
    let query = sqlx::query(SUBSCRIPTIONS.text)
        .bind(list.tenant_id.to_string())
        .bind(list.after.unwrap_or_default().to_string())
        .bind(list.application.is_some())
        .bind(list.application.as_ref().and_then(Option::as_ref).map(SessionId::as_str))
        .bind(now.as_millis())
        .bind(i64::from(list.limit));
    rows(readers, &SUBSCRIPTIONS, query).await?.iter().map(decode).collect()
}

/// [`crate::store::SubscriptionStore::update_subscription`].
pub(super) async fn update_subscription(
    writer: &ConnectionPool<Sqlite>,
    now: Timestamp,
    update: &UpdateSubscription,
) -> Result<Option<Subscription>, StoreError> {
    let (request, signing_keys) = update.request.as_ref().map(request_columns).transpose()?.unzip();
    let query = sqlx::query(UPDATE_SUBSCRIPTION.text)
        .bind(update.key.tenant_id.to_string())
        .bind(update.key.subscription_id.to_string())
        .bind(now.as_millis())
        .bind(update.expires_at.map(Timestamp::as_millis))
        .bind(update.authorized_until.map(Timestamp::as_millis))
        .bind(request)
        .bind(signing_keys);
    rows(writer, &UPDATE_SUBSCRIPTION, query).await?.first().map(decode).transpose()
}

/// [`crate::store::SubscriptionStore::delete_subscription`].
pub(super) async fn delete_subscription(
    writer: &ConnectionPool<Sqlite>,
    key: &SubscriptionKey,
) -> Result<bool, StoreError> {
    let query = sqlx::query(DELETE_SUBSCRIPTION.text)
        .bind(key.tenant_id.to_string())
        .bind(key.subscription_id.to_string());
    Ok(affected(writer, &DELETE_SUBSCRIPTION, query).await? > 0)
}

/// [`crate::store::SubscriptionStore::claim_subscriptions`].
pub(super) async fn claim_subscriptions(
    writer: &ConnectionPool<Sqlite>,
    now: Timestamp,
    claim: &ClaimSubscriptions,
) -> Result<Vec<Subscription>, StoreError> {
    let ClaimSubscriptions { owner, lease, take_max, reports } = claim;
    run_claim(writer, now, *owner, now + *lease, *take_max, reports).await
}

/// [`crate::store::SubscriptionStore::release_subscriptions`].
pub(super) async fn release_subscriptions(
    writer: &ConnectionPool<Sqlite>,
    now: Timestamp,
    release: &ReleaseSubscriptions,
) -> Result<(), StoreError> {
    let ended = Timestamp::from_millis(0);
    run_claim(writer, now, release.owner, ended, 0, &release.reports).await.map(drop)
}

async fn run_claim(
    writer: &ConnectionPool<Sqlite>,
    now: Timestamp,
    owner: Uuid,
    leased_until: Timestamp,
    take_max: u32,
    reports: &[DeliveryReport],
) -> Result<Vec<Subscription>, StoreError> {
    let columns = |report: &DeliveryReport| {
        let DeliveryReport { key, generation, delivered_through, failing_since, .. } = report;
        (
            key.tenant_id.to_string(),
            key.subscription_id.to_string(),
            *generation,
            delivered_through.as_millis(),
            failing_since.map(Timestamp::as_millis),
            report.last_error.clone(),
            report.reauthorization_sent.map(Timestamp::as_millis),
        )
    };
    let query = sqlx::query(CLAIM_SUBSCRIPTIONS.text)
        .bind(owner.to_string())
        .bind(now.as_millis())
        .bind(leased_until.as_millis())
        .bind(i64::from(take_max))
        .bind(json(&reports.iter().map(columns).collect::<Vec<_>>())?);
    sorted(&rows(writer, &CLAIM_SUBSCRIPTIONS, query).await?)
}

/// [`crate::store::SubscriptionStore::remove_expired_subscriptions`].
pub(super) async fn remove_expired_subscriptions(
    writer: &ConnectionPool<Sqlite>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let query = sqlx::query(REMOVE_EXPIRED_SUBSCRIPTIONS.text).bind(now.as_millis());
    affected(writer, &REMOVE_EXPIRED_SUBSCRIPTIONS, query).await
}
