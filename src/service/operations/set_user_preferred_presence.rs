//! Sets what a user prefers to be shown as. Graph: setUserPreferredPresence.

use std::time::Duration;

use crate::service::{Caller, Error, Input, Operation, Service, validate::Checks};
use crate::{
    presence::{Activity, Availability},
    store::{Change, UpdateUser},
};

/// A preferred presence, as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetUserPreferredPresence {
    /// Required.
    pub user_id: Input<String>,
    /// Required: one of six pairs with the activity.
    pub availability: Input<Availability>,
    /// Required.
    pub activity: Input<Activity>,
    /// Up to 365 days; 1 day for `Busy` and `DoNotDisturb`, 7 for the rest if
    /// missing.
    pub expiration_duration: Input<Duration>,
}

impl Service {
    /// Overrides what the user's sessions show, as long as one is live.
    pub async fn set_user_preferred_presence(
        &self,
        caller: &Caller,
        request: SetUserPreferredPresence,
    ) -> Result<(), Error> {
        let mut checks = Checks::new();
        let user_id = checks.user_id(request.user_id);
        let pair = checks.preferred_pair(request.availability, request.activity);
        let expires_after = checks.preferred_expiration(&request.expiration_duration, pair);
        let (user_id, preferred) = checks.finish(user_id.zip(pair.zip(expires_after)))?;
        let user = caller.may(Operation::SetUserPreferredPresence, user_id)?;
        let update = UpdateUser { preferred: Change::Set(preferred), ..UpdateUser::new(user) };
        Ok(self.batches.update_user.call_one(update).await?)
    }
}
