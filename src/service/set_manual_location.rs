//! Sets where a user chose to work. Graph: setManualLocation.

use super::{Caller, Error, Given, Operation, Service, validate::Checks};
use crate::{
    presence::{UserId, WorkLocation, WorkLocationType},
    store::{Change, UpdateUser},
};

/// A work location, as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetLocation {
    /// Required.
    pub user_id: Given<String>,
    /// Required.
    pub work_location_type: Given<WorkLocationType>,
    /// Which place it is; not said if missing.
    pub place_id: Given<String>,
}

impl SetLocation {
    pub(super) fn check(self) -> Result<(UserId, WorkLocation), Error> {
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
}
