//! Takes away where something found out that a user works. Graph:
//! clearAutomaticLocation.

use super::{Caller, Error, Given, Operation, Service};
use crate::store::{Change, UpdateUser};

impl Service {
    /// Leaves the location that the user chose, if any.
    pub async fn clear_automatic_location(
        &self,
        caller: &Caller,
        user_id: Given<String>,
    ) -> Result<(), Error> {
        let clear = |update: &mut UpdateUser| update.automatic_location = Change::Clear;
        self.clear_of_user(caller, Operation::ClearAutomaticLocation, user_id, clear).await
    }
}
