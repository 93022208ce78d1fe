//! Sets where something found out that a user works. Graph:
//! setAutomaticLocation.

use super::{Caller, Error, Service, SetLocation};
use crate::store::{Change, UpdateUser};

impl Service {
    /// Sets the location that counts while the user has chosen none.
    pub async fn set_automatic_location(&self, caller: &Caller, request: SetLocation) -> Result<(), Error> {
        let (user_id, location) = request.check()?;
        let update =
            UpdateUser { automatic_location: Change::Set(location), ..UpdateUser::new(caller.user(user_id)) };
        Ok(self.batches.update_user.call_one(update).await?)
    }
}
