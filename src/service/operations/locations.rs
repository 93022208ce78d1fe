//! Sets and clears where a user works. Graph: setManualLocation,
//! setAutomaticLocation, clearAutomaticLocation, clearLocation.

use crate::{
    presence::{UserId, WorkLocation, WorkLocationType},
    service::{Caller, Error, Input, Operation, Service, validate::Checks},
    store::{Change, UpdateUser},
};

/// A work location, as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetLocation {
    /// Required.
    pub user_id: Input<String>,
    /// Required.
    pub work_location_type: Input<WorkLocationType>,
    /// Which place it is; not said if missing.
    pub place_id: Input<String>,
}

impl SetLocation {
    fn check(self) -> Result<(UserId, WorkLocation), Error> {
        let mut checks = Checks::new();
        let user_id = checks.user_id(self.user_id);
        let location_type = checks.work_location_type(self.work_location_type);
        let place_id = checks.place_id(self.place_id);
        let (user_id, location_type) = checks.finish(user_id.zip(location_type))?;
        Ok((user_id, WorkLocation { location_type, place_id }))
    }
}

impl Service {
    /// Sets the location that counts before all others.
    pub async fn set_manual_location(&self, caller: &Caller, request: SetLocation) -> Result<(), Error> {
        let (user_id, location) = request.check()?;
        let user = caller.may(Operation::SetManualLocation, user_id)?;
        let update = UpdateUser { manual_location: Change::Set(location), ..UpdateUser::new(user) };
        Ok(self.batches.update_user.call_one(update).await?)
    }

    /// Sets the location that counts while the user has chosen none.
    pub async fn set_automatic_location(&self, caller: &Caller, request: SetLocation) -> Result<(), Error> {
        let (user_id, location) = request.check()?;
        let user = caller.may(Operation::SetAutomaticLocation, user_id)?;
        let update = UpdateUser { automatic_location: Change::Set(location), ..UpdateUser::new(user) };
        Ok(self.batches.update_user.call_one(update).await?)
    }

    /// Leaves the location that the user chose, if any.
    pub async fn clear_automatic_location(
        &self,
        caller: &Caller,
        user_id: Input<String>,
    ) -> Result<(), Error> {
        let clear = |update: &mut UpdateUser| update.automatic_location = Change::Clear;
        self.clear_of_user(caller, Operation::ClearAutomaticLocation, user_id, clear).await
    }

    /// Leaves no work location.
    pub async fn clear_location(&self, caller: &Caller, user_id: Input<String>) -> Result<(), Error> {
        let clear = |update: &mut UpdateUser| {
            (update.manual_location, update.automatic_location) = (Change::Clear, Change::Clear);
        };
        self.clear_of_user(caller, Operation::ClearLocation, user_id, clear).await
    }
}
