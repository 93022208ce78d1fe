//! Takes away what a user prefers to be shown as. Graph:
//! clearUserPreferredPresence.

use super::{Caller, Error, Given, Service};
use crate::store::{Change, UpdateUser};

impl Service {
    /// Lets the sessions show again; nothing happens if nothing was preferred.
    pub async fn clear_user_preferred_presence(
        &self,
        caller: &Caller,
        user_id: Given<String>,
    ) -> Result<(), Error> {
        self.clear_of_user(caller, user_id, |update| update.preferred = Change::Clear).await
    }

    /// Takes something away that a user set beside sessions.
    pub(super) async fn clear_of_user(
        &self,
        caller: &Caller,
        user_id: Given<String>,
        clear: impl FnOnce(&mut UpdateUser),
    ) -> Result<(), Error> {
        let mut update = UpdateUser::new(caller.user(Self::only_user_id(user_id)?));
        clear(&mut update);
        Ok(self.batches.update_user.call_one(update).await?)
    }
}
