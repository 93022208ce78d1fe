//! Sets and clears a user's work location. Graph: setManualLocation, setAutomaticLocation,
//! clearAutomaticLocation, clearLocation.

use crate::{
    presence::{UserId, WorkLocation, WorkLocationType},
    service::{Caller, Error, Input, Operation, Service, validator::Validator},
    store::{Change, UpdateUser},
};

/// A work location, as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetLocation {
    /// Required.
    pub user_id: Input<String>,
    /// Required.
    pub work_location_type: Input<WorkLocationType>,
    /// The place; optional.
    pub place_id: Input<String>,
}

impl SetLocation {
    fn validate(self) -> Result<(UserId, WorkLocation), Error> {
        let mut validator = Validator::new();
        let user_id = validator.user_id(self.user_id);
        let location_type = validator.work_location_type(self.work_location_type);
        let place_id = validator.place_id(self.place_id);
        let (user_id, location_type) = validator.finish(user_id.zip(location_type))?;
        Ok((user_id, WorkLocation { location_type, place_id }))
    }
}

impl Service {
    /// Sets the manual location, which has precedence over the automatic one.
    pub async fn set_manual_location(&self, caller: &Caller, request: SetLocation) -> Result<(), Error> {
        let (user_id, location) = request.validate()?;
        let user = caller.authorize(Operation::SetManualLocation, user_id)?;
        let update =
            UpdateUser { manual_location: Change::Set(location), ..UpdateUser::new(user, caller.author()) };
        Ok(self.batches.update_user.call_one(update).await?)
    }

    /// Sets the automatic location, which applies while there is no manual one.
    pub async fn set_automatic_location(&self, caller: &Caller, request: SetLocation) -> Result<(), Error> {
        let (user_id, location) = request.validate()?;
        let user = caller.authorize(Operation::SetAutomaticLocation, user_id)?;
        let update = UpdateUser {
            automatic_location: Change::Set(location),
            ..UpdateUser::new(user, caller.author())
        };
        Ok(self.batches.update_user.call_one(update).await?)
    }

    /// Clears the automatic location and keeps the manual one.
    pub async fn clear_automatic_location(
        &self,
        caller: &Caller,
        user_id: Input<String>,
    ) -> Result<(), Error> {
        let clear = |update: &mut UpdateUser| update.automatic_location = Change::Clear;
        self.clear_user_settings(caller, Operation::ClearAutomaticLocation, user_id, clear).await
    }

    /// Clears both locations.
    pub async fn clear_location(&self, caller: &Caller, user_id: Input<String>) -> Result<(), Error> {
        let clear = |update: &mut UpdateUser| {
            (update.manual_location, update.automatic_location) = (Change::Clear, Change::Clear);
        };
        self.clear_user_settings(caller, Operation::ClearLocation, user_id, clear).await
    }
}
