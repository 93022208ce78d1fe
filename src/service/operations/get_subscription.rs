//! Reads a subscription. Graph: get subscription.

use crate::{
    service::{Caller, Error, Input, Operation, Service},
    store::Subscription,
};

impl Service {
    /// Reads a subscription of the caller's application; an administrator reads any of the tenant.
    pub async fn get_subscription(
        &self,
        caller: &Caller,
        subscription_id: Input<String>,
    ) -> Result<Subscription, Error> {
        let subscription_id = self.validate_subscription_id(subscription_id)?;
        self.own_subscription(caller, Operation::GetSubscription, subscription_id).await
    }
}
