//! Ends a subscription. Graph: delete subscription.

use crate::service::{Caller, Error, Input, Operation, Service};

impl Service {
    /// Ends a subscription of the caller's application; an administrator ends any of the tenant. The
    /// replica that delivers it may send a notification within the next seconds.
    pub async fn delete_subscription(
        &self,
        caller: &Caller,
        subscription_id: Input<String>,
    ) -> Result<(), Error> {
        let subscription_id = self.validate_subscription_id(subscription_id)?;
        let found = self.own_subscription(caller, Operation::DeleteSubscription, subscription_id).await?;
        let deleted = self.batches.delete_subscription.call_one(found.key).await?;
        if deleted { Ok(()) } else { Err(Error::subscription_not_found()) }
    }
}
