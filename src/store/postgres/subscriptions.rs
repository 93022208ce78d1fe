//! Subscriptions to change notifications. On Citus, their table stays on the coordinator.

use uuid::Uuid;

use super::statement::{Statements, column};
use crate::{
    presence::{SessionId, Timestamp},
    store::{
        ClaimSubscriptions, CreateOutcome, CreateSubscription, DeliveryReport, ListSubscriptions,
        ReleaseSubscriptions, StoreError, Subscription, SubscriptionKey, UpdateSubscription, author_columns,
        rows::{Row, required},
        sql::{Sql, sql},
        subscription_rows::{request_columns, sorted, subscription as decode},
    },
};

pub(super) const CREATE_SUBSCRIPTION: Sql = sql!("create_subscription");
pub(super) const SUBSCRIPTION: Sql = sql!("subscription");
pub(super) const SUBSCRIPTIONS: Sql = sql!("subscriptions");
pub(super) const UPDATE_SUBSCRIPTION: Sql = sql!("update_subscription");
pub(super) const DELETE_SUBSCRIPTION: Sql = sql!("delete_subscription");
pub(super) const CLAIM_SUBSCRIPTIONS: Sql = sql!("claim_subscriptions");
pub(super) const REMOVE_EXPIRED_SUBSCRIPTIONS: Sql = sql!("remove_expired_subscriptions");
/// For the doctor.
pub(super) const FAILING_SUBSCRIPTIONS: Sql = sql!("failing_subscriptions");

/// [`crate::store::SubscriptionStore::create_subscription`].
pub(super) async fn create_subscription(
    statements: &Statements,
    now: Timestamp,
    create: &CreateSubscription,
) -> Result<CreateOutcome, StoreError> {
    let (application, user) = author_columns(&create.created_by);
    let (request, signing_keys) = request_columns(&create.request)?;
    let query = statements
        .query(&CREATE_SUBSCRIPTION)
        .bind(create.key.tenant_id)
        .bind(create.key.subscription_id)
        .bind(application)
        .bind(user)
        .bind(request)
        .bind(signing_keys)
        .bind(now.as_millis())
        .bind(create.expires_at.as_millis())
        .bind(create.authorized_until.map(Timestamp::as_millis))
        .bind(i64::from(create.application_max))
        .bind(i64::from(create.tenant_max));
    let rows = statements.run(&CREATE_SUBSCRIPTION, query).await?.rows;
    let row = required(rows.first())?;
    if row.id(0)?.is_some() {
        return Ok(CreateOutcome::Created(Box::new(decode(row)?)));
    }
    let is_application_full: bool = column(row, 15)?;
    Ok(if is_application_full { CreateOutcome::ApplicationFull } else { CreateOutcome::TenantFull })
}

/// [`crate::store::SubscriptionStore::subscription`].
pub(super) async fn subscription(
    statements: &Statements,
    now: Timestamp,
    key: &SubscriptionKey,
) -> Result<Option<Subscription>, StoreError> {
    let query =
        statements.query(&SUBSCRIPTION).bind(key.tenant_id).bind(key.subscription_id).bind(now.as_millis());
    statements.run(&SUBSCRIPTION, query).await?.rows.first().map(decode).transpose()
}

/// [`crate::store::SubscriptionStore::subscriptions`].
pub(super) async fn subscriptions(
    statements: &Statements,
    now: Timestamp,
    list: &ListSubscriptions,
) -> Result<Vec<Subscription>, StoreError> {
    let query = statements
        .query(&SUBSCRIPTIONS)
        .bind(list.tenant_id)
        .bind(list.after.unwrap_or_default())
        .bind(list.application.is_some())
        .bind(list.application.as_ref().and_then(Option::as_ref).map(SessionId::as_str))
        .bind(now.as_millis())
        .bind(i64::from(list.limit));
    statements.run(&SUBSCRIPTIONS, query).await?.rows.iter().map(decode).collect()
}

/// [`crate::store::SubscriptionStore::update_subscription`].
pub(super) async fn update_subscription(
    statements: &Statements,
    now: Timestamp,
    update: &UpdateSubscription,
) -> Result<Option<Subscription>, StoreError> {
    let (request, signing_keys) = update.request.as_ref().map(request_columns).transpose()?.unzip();
    let query = statements
        .query(&UPDATE_SUBSCRIPTION)
        .bind(update.key.tenant_id)
        .bind(update.key.subscription_id)
        .bind(now.as_millis())
        .bind(update.expires_at.map(Timestamp::as_millis))
        .bind(update.authorized_until.map(Timestamp::as_millis))
        .bind(request)
        .bind(signing_keys);
    statements.run(&UPDATE_SUBSCRIPTION, query).await?.rows.first().map(decode).transpose()
}

/// [`crate::store::SubscriptionStore::delete_subscription`].
pub(super) async fn delete_subscription(
    statements: &Statements,
    key: &SubscriptionKey,
) -> Result<bool, StoreError> {
    let query = statements.query(&DELETE_SUBSCRIPTION).bind(key.tenant_id).bind(key.subscription_id);
    Ok(statements.run(&DELETE_SUBSCRIPTION, query).await?.affected > 0)
}

/// [`crate::store::SubscriptionStore::claim_subscriptions`].
pub(super) async fn claim_subscriptions(
    statements: &Statements,
    now: Timestamp,
    claim: &ClaimSubscriptions,
) -> Result<Vec<Subscription>, StoreError> {
    let ClaimSubscriptions { owner, lease, take_max, reports } = claim;
    run_claim(statements, now, *owner, now + *lease, *take_max, reports).await
}

/// [`crate::store::SubscriptionStore::release_subscriptions`].
pub(super) async fn release_subscriptions(
    statements: &Statements,
    now: Timestamp,
    release: &ReleaseSubscriptions,
) -> Result<(), StoreError> {
    let ended = Timestamp::from_millis(0);
    run_claim(statements, now, release.owner, ended, 0, &release.reports).await.map(drop)
}

async fn run_claim(
    statements: &Statements,
    now: Timestamp,
    owner: Uuid,
    leased_until: Timestamp,
    take_max: u32,
    reports: &[DeliveryReport],
) -> Result<Vec<Subscription>, StoreError> {
    let query = statements
        .query(&CLAIM_SUBSCRIPTIONS)
        .bind(owner)
        .bind(now.as_millis())
        .bind(leased_until.as_millis())
        .bind(i64::from(take_max))
        .bind(reports.iter().map(|report| report.key.tenant_id).collect::<Vec<_>>())
        .bind(reports.iter().map(|report| report.key.subscription_id).collect::<Vec<_>>())
        .bind(reports.iter().map(|report| report.generation.cast_signed()).collect::<Vec<_>>())
        .bind(reports.iter().map(|report| report.delivered_through.as_millis()).collect::<Vec<_>>())
        .bind(millis(reports, |report| report.failing_since))
        .bind(reports.iter().map(|report| report.last_error.as_deref()).collect::<Vec<_>>())
        .bind(millis(reports, |report| report.reauthorization_sent));
    sorted(&statements.run(&CLAIM_SUBSCRIPTIONS, query).await?.rows)
}

/// A column of optional times.
fn millis(
    reports: &[DeliveryReport],
    time: impl Fn(&DeliveryReport) -> Option<Timestamp>,
) -> Vec<Option<i64>> {
    reports.iter().map(|report| time(report).map(Timestamp::as_millis)).collect()
}

/// [`crate::store::SubscriptionStore::remove_expired_subscriptions`].
pub(super) async fn remove_expired_subscriptions(
    statements: &Statements,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let query = statements.query(&REMOVE_EXPIRED_SUBSCRIPTIONS).bind(now.as_millis());
    Ok(statements.run(&REMOVE_EXPIRED_SUBSCRIPTIONS, query).await?.affected)
}
