//! Takes away what a user prefers to be shown as. Graph:
//! clearUserPreferredPresence.

use crate::service::{Caller, Error, Input, Operation, Service};
use crate::store::{Change, UpdateUser};

impl Service {
    /// Lets the sessions show again; nothing happens if nothing was preferred.
    pub async fn clear_user_preferred_presence(
        &self,
        caller: &Caller,
        user_id: Input<String>,
    ) -> Result<(), Error> {
        let clear = |update: &mut UpdateUser| update.preferred = Change::Clear;
        self.clear_of_user(caller, Operation::ClearUserPreferredPresence, user_id, clear).await
    }

    /// Takes something away that a user set beside sessions.
    pub(super) async fn clear_of_user(
        &self,
        caller: &Caller,
        operation: Operation,
        user_id: Input<String>,
        clear: impl FnOnce(&mut UpdateUser),
    ) -> Result<(), Error> {
        let mut update = UpdateUser::new(caller.may(operation, Self::only_user_id(user_id)?)?);
        clear(&mut update);
        Ok(self.batches.update_user.call_one(update).await?)
    }
}
