//! Counts the users that have a live session: see `list_presences`.

use super::{Caller, Error, Operation, Service};

impl Service {
    /// How many users of the caller's tenant have a live session.
    pub async fn count_presences(&self, caller: &Caller) -> Result<u64, Error> {
        Ok(self.batches.count_users.call_one(caller.may_to_all(Operation::CountPresences)?).await?)
    }
}
