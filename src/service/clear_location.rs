//! Takes away where a user works, whoever said so. Graph: clearLocation.

use super::{Caller, Error, Given, Operation, Service};
use crate::store::{Change, UpdateUser};

impl Service {
    /// Leaves no work location.
    pub async fn clear_location(&self, caller: &Caller, user_id: Given<String>) -> Result<(), Error> {
        let clear = |update: &mut UpdateUser| {
            (update.manual_location, update.automatic_location) = (Change::Clear, Change::Clear);
        };
        self.clear_of_user(caller, Operation::ClearLocation, user_id, clear).await
    }
}
