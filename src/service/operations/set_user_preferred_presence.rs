//! Sets a user's preferred presence. Graph: setUserPreferredPresence.

use std::time::Duration;

use crate::{
    presence::{Activity, Availability},
    service::{Caller, Error, Input, Operation, Service},
    store::UserChange,
};

/// A preferred presence, as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetUserPreferredPresence {
    /// Required.
    pub user_id: Input<String>,
    /// Required: forms one of six pairs with the activity.
    pub availability: Input<Availability>,
    /// Required.
    pub activity: Input<Activity>,
    /// Up to 365 days. If missing, 1 day for `Busy` and `DoNotDisturb` and 7 days for other
    /// pairs.
    pub expiration_duration: Input<Duration>,
}

impl Service {
    /// Sets the preferred presence, which overrides the user's sessions while one is live.
    pub async fn set_user_preferred_presence(
        &self,
        caller: &Caller,
        request: SetUserPreferredPresence,
    ) -> Result<(), Error> {
        let mut validator = self.validator();
        let user_id = validator.user_id(request.user_id);
        let pair = validator.preferred_pair(request.availability, request.activity);
        let expires_after = validator.preferred_expiration(request.expiration_duration, pair);
        let (user_id, preferred) = validator.finish(user_id.zip(pair.zip(expires_after)))?;
        let user = caller.authorize(Operation::SetUserPreferredPresence, user_id)?;
        self.update_user(caller, user, UserChange::Preferred(Some(preferred))).await
    }
}
