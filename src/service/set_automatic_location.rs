//! Sets where something found out that a user works. Graph:
//! setAutomaticLocation.

use super::{Caller, Error, Operation, Service, SetLocation};
use crate::store::{Change, UpdateUser};

impl Service {
    /// Sets the location that counts while the user has chosen none.
    pub async fn set_automatic_location(&self, caller: &Caller, request: SetLocation) -> Result<(), Error> {
        let (user_id, location) = request.check()?;
        let user = caller.may(Operation::SetAutomaticLocation, user_id)?;
        let update = UpdateUser { automatic_location: Change::Set(location), ..UpdateUser::new(user) };
        Ok(self.batches.update_user.call_one(update).await?)
    }
}
