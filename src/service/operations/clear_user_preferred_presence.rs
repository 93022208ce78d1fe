//! Clears a user's preferred presence. Graph: clearUserPreferredPresence.

use crate::{
    service::{Caller, Error, Input, Operation, Service},
    store::UserChange,
};

impl Service {
    /// Clears the preferred presence, so that the sessions show again; succeeds also if there is
    /// none.
    pub async fn clear_user_preferred_presence(
        &self,
        caller: &Caller,
        user_id: Input<String>,
    ) -> Result<(), Error> {
        let clear = UserChange::Preferred(None);
        self.clear_user_settings(caller, Operation::ClearUserPreferredPresence, user_id, clear).await
    }
}
