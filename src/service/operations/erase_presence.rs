//! Removes everything that is stored of a user.

use tracing::info;

use crate::{
    batch::AuthorChunk,
    service::{Caller, Error, Input, Operation, Service},
};

/// The number of rows of other users that one statement looks through.
const CHUNK_ROWS: u32 = 5_000;

impl Service {
    /// Removes everything that is stored of a user, also the user's id in the data of others. Returns
    /// the number of removed rows. Succeeds also if nothing is stored, and is safe to repeat.
    pub async fn erase_presence(&self, caller: &Caller, user_id: Input<String>) -> Result<u64, Error> {
        let user = caller.authorize(Operation::ErasePresence, self.validate_user_id(user_id)?)?;
        // First what matters most: the rest can take long, and a repeat starts over.
        let mut removed = self.batches.erase_user.call_one(user.clone()).await?;
        let mut chunk = AuthorChunk { user: user.clone(), after: None, rows: CHUNK_ROWS };
        loop {
            chunk.after = self.batches.erase_author.call_one(chunk.clone()).await?;
            if chunk.after.is_none() {
                break;
            }
        }
        // On SQLite this also removes what the names left in the file.
        removed += self.batches.erase_user.call_one(user.clone()).await?;
        let (tenant, application) = caller.application();
        info!(
            %tenant,
            user = %user.user_id,
            application = application.map(tracing::field::display),
            by_user = caller.user_id().map(tracing::field::display),
            removed,
            "user erased"
        );
        Ok(removed)
    }
}
