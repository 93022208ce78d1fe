//! Counts the users that have a live session: see `list_presences`.

use crate::service::{Caller, Error, Operation, ReadFrom, Service};

impl Service {
    /// How many users of the caller's tenant have a live session.
    pub async fn count_presences(&self, caller: &Caller, from: ReadFrom) -> Result<u64, Error> {
        let tenant_id = caller.may_to_all(Operation::CountPresences)?;
        let (_, mut counts) = self.read(from, |reads| &reads.count_users, vec![tenant_id]).await?;
        Ok(counts.pop().unwrap_or_default())
    }
}
