//! Storage of subscriptions to change notifications, and of the keys that sign tokens in them: a part of
//! the contract of a store.

use async_trait::async_trait;

use super::{
    StoreError,
    subscriptions::{
        ClaimSubscriptions, CreateOutcome, CreateSubscription, ListSubscriptions, ReleaseSubscriptions,
        SigningKeyRow, Subscription, SubscriptionKey, UpdateSubscription,
    },
};
use crate::presence::Timestamp;

/// Subscriptions to change notifications, and the keys that sign tokens in them.
///
/// A subscription expires at `expires_at`. From then on it is missing for all methods but
/// [`Self::delete_subscription`], and counts for no limit.
///
/// These writes are rare, and a caller can repeat each of them. They need no rule for late writes: a write
/// that reaches the database after its caller gave up applies, and may replace a newer one.
#[async_trait]
pub trait SubscriptionStore {
    /// Creates a subscription.
    ///
    /// 1. It was created at `now`, and delivered through `now`. No replica has it, and its generation is 0.
    /// 2. If its token expires, it was authorized at `now`.
    /// 3. Nothing is created if the application has `application_max` other subscriptions in the tenant, or
    ///    the tenant has `tenant_max`. The limit of the application is named first. Callers without an
    ///    application count as one.
    /// 4. If the subscription exists, it stays as it is, and is returned. So a call can be repeated.
    ///
    /// On PostgreSQL, calls at the same time do not count each other.
    async fn create_subscription(
        &self,
        now: Timestamp,
        create: &CreateSubscription,
    ) -> Result<CreateOutcome, StoreError>;

    /// Reads a subscription; `None` if it is missing.
    async fn subscription(
        &self,
        now: Timestamp,
        key: &SubscriptionKey,
    ) -> Result<Option<Subscription>, StoreError>;

    /// Lists subscriptions of one tenant.
    ///
    /// 1. They are in the order of their ids.
    /// 2. A page has only subscriptions after `after`, and at most `limit`. It has fewer only if no more
    ///    follow.
    /// 3. If an application is given, only those that it made are listed.
    async fn subscriptions(
        &self,
        now: Timestamp,
        list: &ListSubscriptions,
    ) -> Result<Vec<Subscription>, StoreError>;

    /// Changes a subscription, and authorizes it again. Returns it; `None` if it is missing.
    ///
    /// 1. The expiry and the request are replaced if they are given.
    /// 2. It was authorized at `now`, until the new token expires. The subscriber was not yet asked to
    ///    authorize it again. Without a token it needs no authorization.
    /// 3. The state of its delivery stays, and so does the replica that has it.
    async fn update_subscription(
        &self,
        now: Timestamp,
        update: &UpdateSubscription,
    ) -> Result<Option<Subscription>, StoreError>;

    /// Deletes a subscription, expired or not. Returns whether it existed.
    async fn delete_subscription(&self, key: &SubscriptionKey) -> Result<bool, StoreError>;

    /// Renews the leases of a replica, and takes over subscriptions. Returns those that the replica then
    /// has, in key order. Their leases end at `now` + `lease`.
    ///
    /// 1. The replica keeps those that it has, until another replica takes them over.
    /// 2. It takes over those without a lease and those whose lease ended, in key order, at most `take_max`.
    ///    Each then has the next generation.
    /// 3. Of several replicas, one has a subscription.
    /// 4. A report replaces what it says about the delivery, if the replica has the subscription in the
    ///    generation of the report. Otherwise it is void.
    /// 5. `delivered_through` does not go back, unless it was later than `now`, because the clock went back.
    /// 6. A request to authorize the subscription again is void if it was authorized since.
    /// 7. A subscription that is being changed stays with its replica, and no other replica waits for it.
    async fn claim_subscriptions(
        &self,
        now: Timestamp,
        claim: &ClaimSubscriptions,
    ) -> Result<Vec<Subscription>, StoreError>;

    /// Ends the leases of a replica.
    ///
    /// 1. Reports apply as in a claim.
    /// 2. Another replica can take the subscriptions over at once.
    async fn release_subscriptions(
        &self,
        now: Timestamp,
        release: &ReleaseSubscriptions,
    ) -> Result<(), StoreError>;

    /// Removes expired subscriptions. Returns their number.
    ///
    /// 1. A subscription that is being written is kept.
    async fn remove_expired_subscriptions(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Reads the signing keys, the one that was added last first.
    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError>;

    /// Adds a signing key, unless a key was made after `unless_newer_than`. Returns whether it was added.
    ///
    /// 1. Of several calls at the same time, one adds its key.
    async fn add_signing_key(
        &self,
        key: &SigningKeyRow,
        unless_newer_than: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Removes signing keys that were made before a time. Returns their number.
    async fn remove_signing_keys(&self, made_before: Timestamp) -> Result<u64, StoreError>;
}
