//! Takes away where something found out that a user works. Graph:
//! clearAutomaticLocation.

use super::{Caller, Error, Given, Service};
use crate::store::Change;

impl Service {
    /// Leaves the location that the user chose, if any.
    pub async fn clear_automatic_location(
        &self,
        caller: &Caller,
        user_id: Given<String>,
    ) -> Result<(), Error> {
        self.clear_of_user(caller, user_id, |update| update.automatic_location = Change::Clear).await
    }
}
