//! Reads one user's presence. Graph: presence: get.

use crate::service::{Caller, Error, Input, Operation, Presence, ReadFrom, Service, View};

impl Service {
    /// The presence of one user; `Offline` / `Offline` without a live session.
    pub async fn get_presence(
        &self,
        caller: &Caller,
        from: ReadFrom,
        user_id: Input<String>,
        view: Input<View>,
    ) -> Result<Presence, Error> {
        let (user_id, view) = self.validate_user_and_view(user_id, view)?;
        let presences = self.presences(caller, Operation::GetPresence, from, vec![user_id], view).await?;
        presences.into_iter().next().ok_or_else(|| Error::internal("a read returned no presence"))
    }
}
