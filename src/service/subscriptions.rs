//! What the operations on subscriptions share.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::Quota;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{Caller, Error, Input, Operation, Rates, Service};
use crate::{
    notify::{Receivers, Url},
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
    /// The handshakes of each application: any caller can make the service send a request to a stranger.
    pub handshakes: Arc<Rates>,
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
        let quota = Quota::per_second(HANDSHAKES_PER_SECOND).allow_burst(HANDSHAKES_AT_ONCE);
        Self { receivers, handshakes: Arc::new(Rates::new(quota)), limits, created: Arc::default() }
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
        let handshakes = &self.subscriptions.handshakes;
        // Otherwise the counts of all applications that ever called would stay.
        if handshakes.len() > COUNTED_MAX {
            handshakes.remove_inactive();
        }
        for url in urls {
            handshakes.check(caller)?;
            let token = Uuid::new_v4().to_string();
            let answer = self.subscriptions.receivers.handshake(url, &token).await;
            answer.map_err(|error| Error::receiver_not_validated(&error.to_string()))?;
        }
        Ok(())
    }
}
