//! Reads what one user is shown as. Graph: presence: get.

use crate::presence::{Timestamp, User, UserId};
use crate::service::{Caller, Error, Input, Operation, Presence, ReadFrom, Service, validate::Checks};

impl Service {
    /// What the user is shown as; `Offline`/`Offline` without a live session.
    pub async fn get_presence(
        &self,
        caller: &Caller,
        from: ReadFrom,
        user_id: Input<String>,
    ) -> Result<Presence, Error> {
        let (user_id, user, now) = self.load_user(caller, Operation::GetPresence, from, user_id).await?;
        Ok(Presence::whole(user_id, &user, now).shown_to(caller))
    }

    /// One user, at the instant that is returned.
    pub(super) async fn load_user(
        &self,
        caller: &Caller,
        operation: Operation,
        from: ReadFrom,
        user_id: Input<String>,
    ) -> Result<(UserId, User, Timestamp), Error> {
        let key = caller.may(operation, Self::only_user_id(user_id)?)?;
        let user_id = key.user_id.clone();
        let (now, mut users) = self.read(from, |reads| &reads.load, vec![key]).await?;
        Ok((user_id, users.pop().unwrap_or_default(), now))
    }

    /// The user id of a request that has nothing else to check.
    pub(super) fn only_user_id(user_id: Input<String>) -> Result<UserId, Error> {
        let mut checks = Checks::new();
        let user_id = checks.user_id(user_id);
        checks.finish(user_id)
    }
}
