//! Sets and clears a user's work location. Graph: setManualLocation, setAutomaticLocation,
//! clearAutomaticLocation, clearLocation.

use crate::{
    presence::{UserId, WorkLocation, WorkLocationType},
    service::{Caller, Error, Input, Operation, Service, validator::Validator},
    store::{Change, UserChange},
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
    fn validate(self, mut validator: Validator) -> Result<(UserId, WorkLocation), Error> {
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
        let (user_id, location) = request.validate(self.validator())?;
        let user = caller.authorize(Operation::SetManualLocation, user_id)?;
        let change = UserChange::Locations { manual: Change::Set(location), automatic: Change::Keep };
        self.update_user(caller, user, change).await
    }

    /// Sets the automatic location, which applies while there is no manual one.
    pub async fn set_automatic_location(&self, caller: &Caller, request: SetLocation) -> Result<(), Error> {
        let (user_id, location) = request.validate(self.validator())?;
        let user = caller.authorize(Operation::SetAutomaticLocation, user_id)?;
        let change = UserChange::Locations { manual: Change::Keep, automatic: Change::Set(location) };
        self.update_user(caller, user, change).await
    }

    /// Clears the automatic location and keeps the manual one.
    pub async fn clear_automatic_location(
        &self,
        caller: &Caller,
        user_id: Input<String>,
    ) -> Result<(), Error> {
        let clear = UserChange::Locations { manual: Change::Keep, automatic: Change::Clear };
        self.clear_user_settings(caller, Operation::ClearAutomaticLocation, user_id, clear).await
    }

    /// Clears both locations.
    pub async fn clear_location(&self, caller: &Caller, user_id: Input<String>) -> Result<(), Error> {
        let clear = UserChange::Locations { manual: Change::Clear, automatic: Change::Clear };
        self.clear_user_settings(caller, Operation::ClearLocation, user_id, clear).await
    }
}
