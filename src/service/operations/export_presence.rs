//! Exports everything that is stored of a user.

use crate::service::{Caller, Error, Input, Operation, Service};

impl Service {
    /// Every row that is stored of a user, as a line of JSON; none if nothing is stored.
    pub async fn export_presence(
        &self,
        caller: &Caller,
        user_id: Input<String>,
    ) -> Result<Vec<String>, Error> {
        let user = caller.authorize(Operation::ExportPresence, self.validate_user_id(user_id)?)?;
        Ok(self.batches.export_user.call_one(user).await?)
    }
}
