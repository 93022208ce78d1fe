//! Reads one user's presence. Graph: presence: get.

use crate::service::{Caller, Error, Input, Operation, Presence, ReadFrom, Service};

impl Service {
    /// The presence of one user; `Offline` / `Offline` without a live session.
    pub async fn get_presence(
        &self,
        caller: &Caller,
        from: ReadFrom,
        user_id: Input<String>,
    ) -> Result<Presence, Error> {
        let (user_id, user, now) = self.load_user(caller, Operation::GetPresence, from, user_id).await?;
        Ok(Presence::compute(user_id, &user, now).visible_to(caller))
    }
}
