//! Takes away where a user works, whoever said so. Graph: clearLocation.

use super::{Caller, Error, Given, Service};
use crate::store::Change;

impl Service {
    /// Leaves no work location.
    pub async fn clear_location(&self, caller: &Caller, user_id: Given<String>) -> Result<(), Error> {
        let clear = |update: &mut crate::store::UpdateUser| {
            (update.manual_location, update.automatic_location) = (Change::Clear, Change::Clear);
        };
        self.clear_of_user(caller, user_id, clear).await
    }
}
