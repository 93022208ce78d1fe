//! What the operations on subscriptions share.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, MonotonicClock},
    middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{Caller, Error, Input, Operation, Service};
use crate::{
    notify::{Receivers, Url},
    presence::SessionId,
    settings::SubscriptionSettings,
    store::{Subscription, SubscriptionKey},
};

/// The handshakes that an application may cause each second, and at once.
const HANDSHAKES_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).unwrap();
const HANDSHAKES_AT_ONCE: NonZeroU32 = NonZeroU32::new(200).unwrap();
/// The number of applications from which on old counts are removed.
const COUNTED_MAX: usize = 1_000;

/// The state that the operations on subscriptions share.
#[derive(Clone, Debug)]
pub struct Subscriptions {
    /// Asks receivers whether they want notifications.
    pub receivers: Receivers,
    /// The handshakes of each application.
    pub handshakes: Arc<Handshakes>,
    /// The limits.
    pub limits: SubscriptionLimits,
    /// Notified when there is a new subscription to deliver.
    pub created: Arc<Notify>,
}

impl Subscriptions {
    /// The state with these settings.
    #[must_use]
    pub fn new(receivers: Receivers, settings: &SubscriptionSettings) -> Self {
        let limits = SubscriptionLimits {
            age_max: settings.subscription_max_age,
            application_max: settings.subscriptions_max,
            tenant_max: settings.tenant_subscriptions_max,
            one_of_each_user: settings.graph_limits,
        };
        Self { receivers, handshakes: Arc::default(), limits, created: Arc::default() }
    }
}

/// The limits of subscriptions.
#[derive(Clone, Copy, Debug)]
pub struct SubscriptionLimits {
    /// The longest time until a subscription ends.
    pub age_max: Duration,
    /// The maximum number of an application in a tenant.
    pub application_max: u32,
    /// The maximum number of a tenant.
    pub tenant_max: u32,
    /// Whether a user and an application may have only one subscription. Graph: presence.
    pub one_of_each_user: bool,
}

type Application = (Uuid, Option<SessionId>);

/// Counts the handshakes that applications cause: any caller can make the service send a request to a
/// stranger.
#[derive(Debug)]
pub struct Handshakes(
    RateLimiter<
        Application,
        HashMapStateStore<Application>,
        MonotonicClock,
        NoOpMiddleware<<MonotonicClock as governor::clock::Clock>::Instant>,
    >,
);

impl Default for Handshakes {
    fn default() -> Self {
        let quota = Quota::per_second(HANDSHAKES_PER_SECOND).allow_burst(HANDSHAKES_AT_ONCE);
        Self(RateLimiter::new(quota, HashMapStateStore::new(HashMap::new()), MonotonicClock))
    }
}

impl Handshakes {
    /// Counts a handshake. The error is a caller above its rate.
    fn count(&self, caller: &Caller) -> Result<(), Error> {
        let (tenant_id, application_id) = caller.application();
        // Otherwise the counts of all applications that ever called would stay.
        if self.0.len() > COUNTED_MAX {
            self.0.retain_recent();
        }
        let counted = self.0.check_key(&(tenant_id, application_id.cloned()));
        counted.map_err(|until| Error::rate_limited(until.wait_time_from(self.0.clock().now())))
    }
}

impl Service {
    /// The id of a subscription; required.
    pub(super) fn validate_subscription_id(&self, given: Input<String>) -> Result<Uuid, Error> {
        let mut validator = self.validator();
        let subscription_id = validator.subscription_id(given);
        validator.finish(subscription_id)
    }

    /// Reads a subscription that the caller may use for `operation`.
    pub(super) async fn own_subscription(
        &self,
        caller: &Caller,
        operation: Operation,
        subscription_id: Uuid,
    ) -> Result<Subscription, Error> {
        let tenant_id = caller.authorize_tenant(operation)?;
        let key = SubscriptionKey { tenant_id, subscription_id };
        let found = self.batches.subscription.call_one(key).await?;
        let may_manage = operation != Operation::UpdateSubscription && caller.manages_all();
        let visible = found.filter(|found| may_manage || caller.made(&found.created_by));
        visible.ok_or_else(Error::subscription_not_found)
    }

    /// Asks the receivers of a subscription whether they want its notifications. Both are asked even if
    /// they are equal, as in Graph.
    pub(super) async fn validate_receivers(&self, caller: &Caller, urls: &[&Url]) -> Result<(), Error> {
        for url in urls {
            self.subscriptions.handshakes.count(caller)?;
            let token = Uuid::new_v4().to_string();
            let answer = self.subscriptions.receivers.handshake(url, &token).await;
            answer.map_err(|error| Error::receiver_not_validated(&error.to_string()))?;
        }
        Ok(())
    }
}
