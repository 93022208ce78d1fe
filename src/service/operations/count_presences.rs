//! Counts the users with a live session.

use crate::service::{Caller, Error, Operation, ReadFrom, Service};

impl Service {
    /// The number of users of the caller's tenant that have a live session.
    pub async fn count_presences(&self, caller: &Caller, from: ReadFrom) -> Result<u64, Error> {
        let tenant_id = caller.authorize_tenant(Operation::CountPresences)?;
        let (_, mut counts) = self.read(from, |reads| &reads.count_users, vec![tenant_id]).await?;
        Ok(counts.pop().unwrap_or_default())
    }
}
